"""Renders what the demo's callers say: lines.toml in, one WAV per line out, lines.toml completed.

    python -m triage.demo.callers.render [ID ...] [--check]

Voices are flite's (CMU, redistributable); coughs, gasps and murmurs are noise and tones shaped here. The same
input gives the same samples with the same flite. Each line is then played to the offline recogniser, and what it heard
is written beside the line. `--check` renders nothing and compares the files with their hashes.
"""

import argparse
import asyncio
import hashlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triage.audio import at_level, frames, read_wav, resample, silence, sound_spans, write_wav
from triage.errors import AssetError, StageError
from triage.ports import RATE, Pcm
from triage.stages.flite_tts import synthesise
from triage.stages.pocketsphinx_stt import PocketsphinxSpeechToText

HERE = Path(__file__).parent
LEVEL_DB = -22.0
"""Level of the sounding part."""
EDGE_S = 0.1
"""Silence kept before and after."""


# --- sounds without words


def _envelope(seconds: float, rise_s: float, fall_s: float) -> NDArray[np.float64]:
    at = np.arange(round(seconds * RATE)) / RATE
    shape: NDArray[np.float64] = np.minimum(1.0, at / rise_s) * np.minimum(1.0, (seconds - at) / fall_s)
    return shape


def _band(noise: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Only what lies between two frequencies in Hz, with soft edges."""
    spectrum = np.fft.rfft(noise)
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    gain = 1 / (1 + (low / np.maximum(hz, 1.0)) ** 6) / (1 + (hz / high) ** 6)
    filtered = np.fft.irfft(spectrum * gain, len(noise))
    scaled: NDArray[np.float64] = filtered / np.max(np.abs(filtered))
    return scaled


def _voice(pitch: NDArray[np.float64], formants: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """A buzzing voice: harmonics of a moving pitch (Hz per sample), strong near the formants (Hz, width)."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    total = np.zeros(len(pitch))
    for harmonic in range(1, 40):
        hz = pitch * harmonic
        gain = sum(np.exp(-(((hz - centre) / width) ** 2)) for centre, width in formants) + 0.02
        total += np.sin(harmonic * phase) * gain * (hz < 5000) / np.sqrt(harmonic)
    scaled: NDArray[np.float64] = total / np.max(np.abs(total))
    return scaled


def _gap(seconds: float) -> NDArray[np.float64]:
    return np.zeros(round(seconds * RATE))


def cough(rng: np.random.Generator) -> NDArray[np.float64]:
    """Two short bursts: a hard onset, rough noise, a voice beneath; the detector takes it for speech, as it should."""
    parts: list[NDArray[np.float64]] = []
    for seconds in (0.24 + 0.03 * rng.random(), 0.2 + 0.03 * rng.random()):
        length = round(seconds * RATE)
        rough = _band(rng.standard_normal(length), 350, 2600) * _envelope(seconds, 0.008, seconds * 0.8)
        shaky = 1 + 0.01 * np.cumsum(rng.standard_normal(length)) / np.sqrt(length)
        voiced = _voice(np.linspace(180, 120, length) * shaky, ((650, 100), (1150, 120), (2500, 150)))
        parts += [0.25 * rough + voiced * _envelope(seconds, 0.03, 0.1), _gap(0.16)]
    return np.concatenate(parts[:-1])


def murmur(rng: np.random.Generator) -> NDArray[np.float64]:
    """Mm-hm: two hummed syllables, the second one higher."""
    first = _voice(np.linspace(118, 108, round(0.2 * RATE)), ((250, 120), (1100, 150))) * _envelope(0.2, 0.03, 0.05)
    second = _voice(np.linspace(112, 150, round(0.28 * RATE)), ((250, 120), (1100, 150))) * _envelope(0.28, 0.03, 0.1)
    breath = _band(rng.standard_normal(round(0.06 * RATE)), 500, 3000) * 0.05
    return np.concatenate([first, breath, second])


def gasp(rng: np.random.Generator) -> NDArray[np.float64]:
    """Five laboured breaths: air drawn in, then a second of a voice that makes no word."""
    parts: list[NDArray[np.float64]] = []
    for breath in range(5):
        inward = _band(rng.standard_normal(round(0.4 * RATE)), 600, 3800) * _envelope(0.4, 0.2, 0.1)
        groan, _ = synthesise(("uh huh uh", "ah hah")[breath % 2], "rms", pace=2.2 + 0.1 * rng.random())
        voiced = groan / np.max(np.abs(groan))
        parts += [0.1 * inward, voiced, _gap(0.3)]
    return np.concatenate(parts[:-1])


SOUNDS = {"cough": cough, "murmur": murmur, "gasp": gasp}


# --- lines


def render(line: dict[str, Any]) -> Pcm:
    """The samples of one line.

    Raises:
        Unavailable: flite is missing.
    """
    if "sound" in line:
        made = SOUNDS[line["sound"]](np.random.default_rng(line["seed"]))
        pcm = np.rint(made / np.max(np.abs(made)) * 20000).astype(np.int16)
    else:
        shift = line.get("shift", 1.0)
        spoken, _ = synthesise(line["text"], line["voice"], pace=line.get("pace", 1.0) * shift)
        pcm = resample(spoken, round(RATE * shift), RATE)
    spans = sound_spans(pcm, above_db=-50.0)
    sounding = pcm[spans[0][0] : spans[-1][1]]
    return np.concatenate([silence(EDGE_S), at_level(sounding, LEVEL_DB), silence(EDGE_S)])


async def recognise(pcm: Pcm) -> str:
    """What the offline recogniser makes of a line, each word with its confidence in percent."""
    stt = PocketsphinxSpeechToText()
    await stt.start()
    try:
        for frame in frames(np.concatenate([silence(0.2), pcm, silence(0.2)])):
            stt.feed(frame, voiced=True)
            while stt.unanswered > 20:  # noqa: ASYNC110 files come faster than speech
                await asyncio.sleep(0.002)
        stt.finish_utterance()
        async for transcript in stt.transcripts():
            if transcript.final:
                return " ".join(f"{word.text}/{round(100 * (word.confidence or 0))}" for word in transcript.words)
    finally:
        await stt.close()
    return ""


def complete(toml: str, found: dict[str, dict[str, str]]) -> str:
    """lines.toml with the found fields in each line's table, at its end."""
    blocks = re.split(r"(?m)^(?=\[\[line\]\])", toml)
    for at, block in enumerate(blocks):
        name = re.search(r'(?m)^id = "(\w+)"$', block)
        if name is None or name[1] not in found:
            continue
        fields = found[name[1]]
        kept = re.sub(rf"(?m)^(?:{'|'.join(fields)}) = .*\n", "", block)
        head, blank, rest = kept.partition("\n\n")
        blocks[at] = head.rstrip("\n") + "".join(f"\n{key} = {value}" for key, value in fields.items())
        blocks[at] += blank + rest if blank else "\n"
    return "".join(blocks)


def check(lines: list[dict[str, Any]]) -> None:
    """Compare every file with its hash.

    Raises:
        AssetError: one is missing or altered; names it.
    """
    for line in lines:
        path = HERE / f"{line['id']}.wav"
        if not path.is_file():
            raise AssetError(f"caller file {path} is missing; run python -m triage.demo.callers.render {line['id']}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != line.get("sha256"):
            raise AssetError(
                f"caller file {path} is not the rendered one; run python -m triage.demo.callers.render {line['id']}"
            )


def main() -> None:
    """Render, listen, complete lines.toml; or check."""
    parser = argparse.ArgumentParser(description="render what the demo's callers say")
    parser.add_argument("ids", nargs="*", help="lines to render; all when none is named")
    parser.add_argument("--check", action="store_true", help="only compare files with hashes")
    arguments = parser.parse_args()
    source = HERE / "lines.toml"
    toml = source.read_text(encoding="utf-8")
    lines: list[dict[str, Any]] = tomllib.loads(toml)["line"]
    try:
        if arguments.check:
            check(lines)
            return
        found: dict[str, dict[str, str]] = {}
        for line in lines:
            if arguments.ids and line["id"] not in arguments.ids:
                continue
            path = HERE / f"{line['id']}.wav"
            write_wav(path, render(line))
            pcm = read_wav(path)
            heard = asyncio.run(recognise(pcm)) if line.get("recognised", True) else ""
            found[line["id"]] = {
                "seconds": f"{len(pcm) / RATE:.2f}",
                "sha256": f'"{hashlib.sha256(path.read_bytes()).hexdigest()}"',
                "heard": f'"{heard}"',
            }
            print(f"{line['id']:20} {len(pcm) / RATE:5.2f} s  {line.get('text', line.get('sound'))}\n{'':29} {heard}")
        source.write_text(complete(toml, found), encoding="utf-8")
    except (AssetError, StageError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
