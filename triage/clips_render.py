"""Render all fixed wording and write the manifest: `python -m triage.clips_render [--check] [--all] [--only ID]`.

Two sources: `audio_assets/wording.toml` (what the machine itself says) and the dialogue's wording and protocols. A clip
is rendered again when its text, voice or pace changed, or its file is gone. Each is 16 kHz mono int16: silence before
the first sound cut away (the hand-off clock counts it), level -20 dBFS, peaks below -1 dBFS, 5 ms faded at both ends.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import audio_assets
from triage.audio import at_level, read_wav, write_wav
from triage.clips import MANIFEST, SCHEMA, read_manifest
from triage.dialogue.wording import spoken_lines
from triage.errors import AssetError, TriageError, UsageError
from triage.ports import RATE, Pcm, SpokenWord
from triage.stages.flite_tts import synthesise

FOLDER = Path(audio_assets.__file__).parent
VOICE = "flite-2.2-slt"
PLACEHOLDER_VOICE = "espeak-ng-1.51-es"
LEVEL_DB = -20.0
PEAK = round(32768 * 10 ** (-1 / 20))
AUDIBLE = 300
"""A sample of this size (about -41 dBFS) is the first that a caller can hear."""
FADE = RATE // 200
TAIL = RATE * 120 // 1000
"""Silence kept after the last audible sample."""


@dataclass(frozen=True)
class Wanted:
    """One clip as it should be."""

    id: str
    text: str
    language: str = "en"
    region: str = ""
    says: dict[str, str] = field(default_factory=dict)
    pace: float = 1.0

    @property
    def placeholder(self) -> bool:
        """Only the English voice ships."""
        return self.language != "en"

    @property
    def voice(self) -> str:
        """Engine, version and voice, with the pace where it is not 1."""
        name = PLACEHOLDER_VOICE if self.placeholder else VOICE
        return name if self.pace == 1.0 else f"{name}, pace {self.pace}"

    @property
    def file(self) -> str:
        """Path in `audio_assets/`."""
        place = f"{self.language}/{self.region}/" if self.region else f"{self.language}/"
        return f"{place}{self.id.replace('.', '/')}.wav"


def wanted(folder: Path = FOLDER) -> list[Wanted]:
    """Every clip that should exist, the machine's first, then the dialogue's.

    Raises:
        AssetError: `wording.toml` or the dialogue's wording is broken.
    """
    read = tomllib.loads((folder / "wording.toml").read_text(encoding="utf-8"))
    clips: list[Wanted] = []
    for line in read["line"]:
        for language in ("en", "es"):
            clips += _regional(line["id"], line[language], language, float(line.get("pace", 1.0)), read)
    for prompt, text in spoken_lines():
        clips += _regional(prompt, text, "en", 1.0, read)
    known: set[tuple[str, str, str]] = set()
    for clip in clips:
        key = (clip.id, clip.language, clip.region)
        if key in known:
            raise AssetError(f"prompt {clip.id} has two wordings; give one of them another id")
        known.add(key)
    return clips


def _regional(prompt: str, text: str, language: str, pace: float, read: dict[str, Any]) -> Iterator[Wanted]:
    kinds = [kind for kind in ("emergency", "crisis", "poison") if f"{{{kind}}}" in text]
    if not kinds:
        yield Wanted(prompt, text, language, pace=pace)
        return
    for region, numbers in read["numbers"].items():
        if region not in read["regions"].get(language, read["numbers"]):
            continue
        spoken = {kind: read["spoken"][language][numbers[kind]] for kind in kinds}
        yield Wanted(prompt, text.format(**spoken), language, region, {kind: numbers[kind] for kind in kinds}, pace)


def render(clip: Wanted) -> tuple[Pcm, list[tuple[str, int, int]]]:
    """Samples and word times of one clip.

    Raises:
        Unavailable, UsageError: the voice is not installed; says what to install.
    """
    if clip.placeholder:
        return _finish(_espeak(clip.text, clip.language), ())
    return _finish(*synthesise(clip.text, "slt", pace=clip.pace))


def _espeak(text: str, language: str) -> Pcm:
    program = shutil.which("espeak-ng")
    if program is None:
        raise UsageError("espeak-ng is not installed; run: apt-get install espeak-ng")
    with TemporaryDirectory() as place:
        file = Path(place) / "speech.wav"
        subprocess.run([program, "-v", language, "-s", "165", "-w", str(file), text], check=True)
        return read_wav(file)


def _finish(pcm: Pcm, words: tuple[SpokenWord, ...]) -> tuple[Pcm, list[tuple[str, int, int]]]:
    pcm = at_level(pcm, LEVEL_DB)
    peak = int(np.abs(pcm.astype(np.int32)).max())
    if peak > PEAK:
        pcm = (pcm.astype(np.float64) * PEAK / peak).astype(np.int16)
    audible = np.flatnonzero(np.abs(pcm.astype(np.int32)) >= AUDIBLE)
    first, last = int(audible[0]), int(audible[-1])
    start = max(0, first - FADE)
    shaped = pcm[start : min(len(pcm), last + TAIL)].astype(np.float64)
    ramp = np.linspace(0.0, 1.0, FADE)
    shaped[:FADE] *= ramp
    shaped[-FADE:] *= ramp[::-1]
    end = len(shaped)
    timed = [(w.text, min(max(0, w.start - start), end), min(max(0, w.end - start), end)) for w in words]
    return shaped.astype(np.int16), timed


def main(argv: list[str] | None = None) -> int:
    """Render what changed; with --check only say what would be."""
    parser = argparse.ArgumentParser(prog="python -m triage.clips_render", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="render nothing; exit 1 when something is out of date")
    parser.add_argument("--only", metavar="ID", help="render this prompt, whether it changed or not")
    parser.add_argument("--all", action="store_true", help="render everything again")
    options = parser.parse_args(argv)
    try:
        return _run(check=options.check, only=options.only, everything=options.all)
    except TriageError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _run(*, check: bool, only: str | None, everything: bool) -> int:
    known = {}
    if (FOLDER / MANIFEST).exists():
        known = {(e["id"], e["language"], e["region"]): e for e in read_manifest(FOLDER)}
    clips = wanted()
    if only and not any(clip.id == only for clip in clips):
        raise UsageError(f"{only} is no prompt; see audio_assets/wording.toml and triage/dialogue/")
    entries: list[dict[str, Any]] = []
    stale: list[str] = []
    for clip in clips:
        entry = known.pop((clip.id, clip.language, clip.region), None)
        if entry is None or everything or clip.id == only or not _current(clip, entry):
            stale.append(clip.file)
            if not check:
                entry = _make(clip)
        if entry is not None:
            entries.append(entry)
    gone = [str(entry["file"]) for entry in known.values()]
    kept = {entry["file"] for entry in entries}
    for name in stale:
        print(f"{'out of date' if check else 'rendered'}: {name}")
    for name in gone:
        print(f"{'no longer said' if check else 'removed'}: {name}")
        if not check and name not in kept:
            (FOLDER / name).unlink(missing_ok=True)
    if not check:
        (FOLDER / MANIFEST).write_text(manifest_text(entries), encoding="utf-8")
        print(f"{len(entries)} clips, {sum(e['ms'] for e in entries) / 60_000:.1f} min")
    return 1 if check and (stale or gone) else 0


def _current(clip: Wanted, entry: dict[str, Any]) -> bool:
    file = FOLDER / entry["file"]
    if entry["quality"] == "vendor":  # somebody recorded it: the text decides alone
        return bool(entry["text"] == clip.text and file.exists())
    same = entry["text"] == clip.text and entry["voice"] == clip.voice and entry["file"] == clip.file
    return bool(same and entry.get("says", {}) == clip.says and file.exists())


def _make(clip: Wanted) -> dict[str, Any]:
    pcm, words = render(clip)
    file = FOLDER / clip.file
    file.parent.mkdir(parents=True, exist_ok=True)
    write_wav(file, pcm)
    return {
        "id": clip.id,
        "text": clip.text,
        "language": clip.language,
        "region": clip.region,
        "voice": clip.voice,
        "quality": "placeholder" if clip.placeholder else "local",
        "file": clip.file,
        "rate": RATE,
        "ms": round(len(pcm) * 1000 / RATE),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "says": clip.says,
        "words": words,
    }


def manifest_text(entries: list[dict[str, Any]]) -> str:
    """The manifest of these entries."""
    out = [
        "# What was rendered, by which voice, and the hash of each file. Made by: python -m triage.clips_render",
        "# Wording is not changed here but in wording.toml and in triage/dialogue/. Word times are in samples.",
        f"schema = {SCHEMA}",
    ]
    for entry in entries:
        out += ["", "[[clip]]"]
        for name, value in entry.items():
            match value:
                case dict():
                    pairs = ", ".join(f"{key} = {_quoted(number)}" for key, number in value.items())
                    out += [f"says = {{ {pairs} }}"] if value else []
                case str() | int():
                    out.append(f"{name} = {_quoted(value)}")
                case _:
                    timed = ", ".join(f"[{_quoted(word)}, {start}, {end}]" for word, start, end in value)
                    out += [f"{name} = [{timed}]"] if value else []
    return "\n".join(out) + "\n"


def _quoted(value: str | int) -> str:
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
