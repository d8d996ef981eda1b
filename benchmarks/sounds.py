"""What bench callers say and what is no speech at all: the project's own caller lines, and noises made here."""

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.stage import Sound
from triage.audio import read_wav
from triage.clips import ClipLibrary
from triage.demo.cast import CallerLines
from triage.demo.scenario import load as load_scenario
from triage.ports import RATE, Pcm

LINES = CallerLines()
AGAIN = "say that again please"
"""Words that make the interview repeat itself for as long as anybody likes."""
BARGE_INS = (
    *("barge_in_1", "barge_in_2", "hold_on", "chest_pain_2", "headache_1", "name_rms", "age_rms", "emergency_no_rms"),
    *("third_turn_1", "third_turn_2", "location_awb", "for_me_awb", "medication_1", "sex_awb"),
    *("sore_throat_1", "sore_emergency_no", "sore_since", "sore_severity", "fever_child_1", "sore_bye"),
)
"""Three voices; spoken over us. Their words do not matter here."""
SHARED = Path(os.environ.get("TRIAGE_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "callers"


def line(name: str, text: str | None = None) -> Sound:
    """One line of the project's callers; `text` replaces its words."""
    spoken = LINES.get(name)
    return Sound(name, spoken.pcm, spoken.text if text is None else text)


def barge_ins(count: int) -> Iterator[Sound]:
    """So many, each line in turn, the words replaced by AGAIN; with further voices where the shared callers are there."""
    sounds = [line(name, AGAIN) for name in BARGE_INS]
    if (SHARED / "manifest.json").is_file():
        for entry in json.loads((SHARED / "manifest.json").read_text()):
            if entry["channel"] == "16 kHz clean" and entry["duration_ms"] < 4500:
                sounds.append(Sound(entry["file"], read_wav(SHARED / entry["file"]), AGAIN))
    return itertools.islice(itertools.cycle(sounds), count)


def interview_answers() -> dict[str, Sound]:
    """Answers to every question of the routine scenario, by what the interview calls it."""
    answers = load_scenario("sore_throat").answers.items()
    given = {prompt.partition(".")[2]: line(said if isinstance(said, str) else said[0]) for prompt, said in answers}
    return given | {
        "emergency": line("sore_no")
    }  # no word of danger, not even a negated one: this call goes to its end


def our_speech(seconds: float) -> Pcm:
    """So much of our own clips, one after the other."""
    clips = ClipLibrary.load()
    pieces: list[Pcm] = []
    for name in itertools.cycle(("greeting", "ask.complaint", "ask.background", "ask.location")):
        if sum(len(piece) for piece in pieces) >= seconds * RATE:
            return np.concatenate(pieces)[: int(seconds * RATE)]
        pieces.append(clips.clip(name).pcm)
    raise AssertionError


def every(seconds: float, sounds: Sequence[Pcm], total_s: float) -> Pcm:
    """These sounds in turn, one every so many seconds, in silence of `total_s`."""
    out = np.zeros(int(total_s * RATE), dtype=np.int16)
    for number, at in enumerate(range(RATE, len(out) - 2 * RATE, int(seconds * RATE))):
        sound = sounds[number % len(sounds)]
        out[at : at + len(sound)] = sound
    return out


def keyboard(total_s: float, seed: int = 3) -> Pcm:
    """Someone types: clicks of 4 ms, five a second, at about -20 dBFS."""
    random = np.random.default_rng(seed)
    out = np.zeros(int(total_s * RATE))
    for at in np.cumsum(random.exponential(0.2, int(total_s * 4))):
        click = random.normal(0, 3000, 64) * np.exp(-np.arange(64) / 16)
        place = int(at * RATE)
        out[place : place + 64] += click[: max(0, len(out) - place)][:64] if place < len(out) else 0
    return np.asarray(np.clip(out, -32768, 32767).astype(np.int16))


def breathing(total_s: float, seed: int = 4) -> Pcm:
    """Heavy breath on the microphone: noise that swells and falls every three seconds, -30 dBFS at its loudest."""
    random = np.random.default_rng(seed)
    n = np.arange(int(total_s * RATE))
    swell = np.maximum(0.0, np.sin(2 * np.pi * n / (3 * RATE))) ** 2
    noise = np.convolve(random.normal(0, 1, len(n)), np.ones(8) / 8, "same")
    return np.asarray((noise / noise.std() * 1000 * swell).astype(np.int16))


def hum(total_s: float) -> Pcm:
    """A refrigerator: 100 Hz and its third harmonic, -35 dBFS."""
    n = np.arange(int(total_s * RATE))
    return np.asarray(
        (580 * (np.sin(2 * np.pi * 100 * n / RATE) + 0.5 * np.sin(2 * np.pi * 300 * n / RATE))).astype(np.int16)
    )
