"""How soon the voice detector hears a voice: delay from the true onset, and its cost per window.

    python -m benchmarks.vad_onset [FOLDER]

FOLDER holds WAV files and a manifest.json with "file" and "onset_ms"; default: the folder `callers` in TRIAGE_SHARED
(default: beside the repository). Each file is tried at eight phases of the detector's 32 ms grid.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from triage.audio import frames, read_wav
from triage.ports import RATE, VoiceWindow
from triage.stages.silero import WINDOW, SileroVoiceActivity

PHASES = 8


def delay(windows: list[VoiceWindow], onset: int, threshold: float, in_a_row: int) -> float:
    """Milliseconds from the onset to the end of the window that makes `in_a_row` above the threshold."""
    above = 0
    for window in windows:
        above = above + 1 if window.end > onset and window.probability >= threshold else 0
        if above == in_a_row:
            return (window.end - onset) * 1000 / RATE
    return float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("TRIAGE_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    parser.add_argument("folder", type=Path, nargs="?", default=shared / "callers")
    folder = parser.parse_args().folder
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        sys.exit(f"{manifest} is missing; give a folder of caller files or set TRIAGE_SHARED")
    rules = {"pause (0.3, one window)": (0.3, 1), "speech (0.5, two windows)": (0.5, 2)}
    delays: dict[str, list[float]] = {name: [] for name in rules}
    took, decided = 0.0, 0
    for entry in json.loads(manifest.read_text()):
        pcm = read_wav(folder / entry["file"])
        for phase in range(0, WINDOW, WINDOW // PHASES):
            moved = np.concatenate([np.zeros(phase, dtype=np.int16), pcm])
            vad = SileroVoiceActivity.load()
            began = time.perf_counter()
            windows = [window for frame in frames(moved) for window in vad.feed(frame)]
            took, decided = took + time.perf_counter() - began, decided + len(windows)
            onset = entry["onset_ms"] * RATE // 1000 + phase
            for name, (threshold, in_a_row) in rules.items():
                delays[name].append(delay(windows, onset, threshold, in_a_row))
    for name, values in delays.items():
        print(
            f"{name}: median {np.median(values):.0f}, p95 {np.percentile(values, 95):.0f}, max {max(values):.0f} ms"
            f" (n={len(values)})"
        )
    print(f"{took / decided * 1e6:.0f} us per window of {WINDOW * 1000 // RATE} ms (n={decided})")


if __name__ == "__main__":
    main()
