"""Word error rate and latency of the offline recogniser on a folder of caller files.

    python -m benchmarks.stt_wer [FOLDER] [--lines]

FOLDER holds WAV files and a manifest.json with "file" and "text"; default: the folder `callers` in TRIAGE_SHARED
(default: beside the repository). Every file goes through the voice detector, the gate and the child process as in a
call, as fast as the child answers; one child for all files of a scenario. Latencies are wall time in this process.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from triage.audio import frames, read_wav, silence
from triage.ports import RATE, Transcript
from triage.stages.pocketsphinx_stt import PocketsphinxSpeechToText
from triage.stages.silero import SileroVoiceActivity

KEY_PHRASES = ("chest pain", "drooping", "swelling", "no chest pain", "short of breath", "peanuts", "swollen")
HANG = RATE * 500 // 1000


def errors(reference: list[str], heard: list[str]) -> int:
    """Least number of words to change, add or drop."""
    row = list(range(len(heard) + 1))
    for i, wanted in enumerate(reference, 1):
        above, row[0] = row[0], i
        for j, word in enumerate(heard, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (wanted != word))
    return row[-1]


def plain(text: str) -> list[str]:
    """Words as both sides write them: no case, no punctuation, contractions apart."""
    text = re.sub(r"[^a-z' ]", " ", text.lower().replace("can not", "cannot").replace("can't", "cannot"))
    return text.replace("i'm", "i am").replace("don't", "do not").split()


async def utterances(stt: PocketsphinxSpeechToText, pcm: Any) -> tuple[str, list[Transcript], list[float], list[float]]:
    """Feed one file as a call would; returns text, finals, step and finish latencies in ms."""
    vad = SileroVoiceActivity.load()
    steps: list[float] = []
    finishes: list[float] = []
    finals: list[Transcript] = []
    heard = stt.transcripts()
    open_until, speaking = 0, False
    for frame in frames(np.concatenate([pcm, silence(0.6)])):
        for window in vad.feed(frame):
            if window.probability >= 0.35:
                open_until, speaking = window.end + HANG, True
        voiced = speaking and frame.start < open_until - HANG // 2
        stt.feed(frame, voiced=voiced)
        if stt.unanswered and voiced:
            began = time.perf_counter()
            while stt.unanswered:  # noqa: ASYNC110 the time until the answer is what is measured
                await asyncio.sleep(0)
            steps.append((time.perf_counter() - began) * 1000)
        if speaking and frame.start >= open_until:
            finals.append(await finish(stt, heard, finishes))
            speaking = False
    if speaking:
        finals.append(await finish(stt, heard, finishes))
    return " ".join(final.text for final in finals if final.text), finals, steps, finishes


async def finish(stt: PocketsphinxSpeechToText, heard: Any, finishes: list[float]) -> Transcript:
    """End the utterance and wait for its final."""
    began = time.perf_counter()
    stt.finish_utterance()
    while True:
        transcript: Transcript = await anext(heard)
        if transcript.final:
            finishes.append((time.perf_counter() - began) * 1000)
            return transcript


async def measure(folder: Path, entries: Iterable[dict[str, Any]], show: bool) -> None:
    wrong = words = files = 0
    steps: list[float] = []
    finishes: list[float] = []
    starts: list[float] = []
    missed: list[str] = []
    audio = 0
    for _, group in groupby(entries, key=lambda entry: entry.get("scenario", "")):
        stt = PocketsphinxSpeechToText()
        began = time.perf_counter()
        await stt.start()
        starts.append((time.perf_counter() - began) * 1000)
        for entry in group:
            pcm = read_wav(folder / entry["file"])
            audio += len(pcm)
            text, finals, new_steps, new_finishes = await utterances(stt, pcm)
            steps += new_steps
            finishes += new_finishes
            reference, found = plain(entry["text"]), plain(text)
            mistakes = errors(reference, found)
            wrong, words, files = wrong + mistakes, words + len(reference), files + 1
            missed += [p for p in KEY_PHRASES if p in " ".join(reference) and p not in " ".join(found)]
            if show or mistakes:
                print(f"{mistakes:2d}  {entry['file']}: {entry['text']}\n      heard: {text}")
            if show:
                print("      " + " ".join(f"{w.text}:{w.confidence:.2f}" for f in finals for w in f.words))
        await stt.close()
    print(f"files {files}, words {words}, audio {audio / RATE:.0f} s")
    print(f"WER {100 * wrong / max(1, words):.1f} %, key phrases missed: {', '.join(missed) or 'none'}")
    for name, values in (("start", starts), ("100 ms step", steps), ("finish", finishes)):
        ordered = sorted(values) or [0.0]
        p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
        print(
            f"{name}: median {statistics.median(ordered):.1f}, p95 {p95:.1f}, max {ordered[-1]:.1f} ms (n={len(values)})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("TRIAGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    parser.add_argument("folder", type=Path, nargs="?", default=shared / "callers")
    parser.add_argument("--lines", action="store_true", help="show every line with its confidences")
    arguments = parser.parse_args()
    manifest = arguments.folder / "manifest.json"
    if not manifest.is_file():
        sys.exit(f"{manifest} is missing; give a folder of caller files or set TRIAGE_SHARED")
    asyncio.run(measure(arguments.folder, json.loads(manifest.read_text()), arguments.lines))


if __name__ == "__main__":
    main()
