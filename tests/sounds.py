"""Where a piece of sound stands in a recording, and what was played of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from triage.ports import Pcm


def places(sound: Pcm, piece: Pcm) -> list[int]:
    """Every position at which `piece` stands in `sound`, sample for sample."""
    raw, wanted, found, at = sound.tobytes(), piece.tobytes(), [], -1
    while (at := raw.find(wanted, at + 1)) >= 0:
        if at % 2 == 0:
            found.append(at // 2)
    return found


def played(heard: Pcm, clip: Pcm, start: int) -> list[tuple[int, int, int]]:
    """How `clip` was played from `start` on: runs of (position, first sample of the clip, length), in order.

    Between two runs there is nothing but silence; the list ends where the clip does, or where it was cut.
    """
    runs: list[tuple[int, int, int]] = []
    at, done = start, 0
    while done < len(clip):
        size = min(len(clip) - done, len(heard) - at)
        same = heard[at : at + size] == clip[done : done + size]
        length = size if same.all() else int(np.argmin(same))
        if length:
            runs.append((at, done, length))
        at, done = at + length, done + length
        loud = np.flatnonzero(clip[done:])
        sound = np.flatnonzero(heard[at:])
        if done >= len(clip) or not len(loud) or not len(sound):
            break
        at = at + int(sound[0]) - int(loud[0])
        if not np.array_equal(heard[at : at + 80], clip[done : done + 80]):
            break
    return runs


def words_heard(clip_words: Sequence[Any], samples: int) -> list[str]:
    """The words of a clip of which at least half was audible when so many of its samples were."""
    return [word.text for word in clip_words if 2 * samples >= word.start + word.end and samples > word.start]
