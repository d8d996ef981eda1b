"""What a recording really contains: read back from the samples that the line let out, and from nothing else.

The stub voice marks every sentence and numbers every sample (`benchmarks.stubs`); clips are found by their own samples.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.stubs import MARK, MARK_BASE, PERIOD
from triage.clips import Clip
from triage.playout import spread
from triage.ports import RATE, Pcm, SpokenWord

SHORTEST = 16
"""Samples (1 ms); a shorter run of our sound is not looked for."""
EARLY = RATE // 50
"""Samples (20 ms) before the onset in which a pause still belongs to it."""
KEY = 64
"""Samples by which a clip is found."""


@dataclass(slots=True)
class Stretch:
    """One playback as it is on the tape, with the pauses in it."""

    start: int
    """Position of its first sample."""
    words: Sequence[SpokenWord]
    number: int = -1
    """Of a stub's sentence."""
    clip: str = ""
    parts: list[tuple[int, int]] = field(default_factory=list)
    """(start, end) of every uninterrupted run of its samples."""
    samples: int = 0
    """How many of its samples were heard."""
    whole: bool = True
    """No sample was lost or repeated where it paused."""

    @property
    def end(self) -> int:
        """Position just after its last sample."""
        return self.parts[-1][1]

    def heard(self) -> list[str]:
        """Words of which at least half was heard."""
        return [word.text for word in self.words if 2 * self.samples >= word.start + word.end]


def sentences(agent: Pcm, spoken: Mapping[int, Sequence[SpokenWord]]) -> list[Stretch]:
    """Every sentence of the stub voice on this tape, in order."""
    found: list[Stretch] = []
    wide = agent.astype(np.int32)
    runs = _runs(wide)
    for start, end in runs:
        first = int(wide[start])
        mark = wide[start - MARK : start] if start >= MARK else np.zeros(0, dtype=np.int32)
        if first == MARK + 1 and len(mark) == MARK and mark[0] <= -MARK_BASE and (mark == mark[0]).all():
            number = -int(mark[0]) - MARK_BASE
            parts = [(start - MARK, end)]
            found.append(Stretch(start - MARK, spoken[number], number, parts=parts, samples=end - start + MARK))
        elif found:
            last = found[-1]
            last.whole = last.whole and first == last.samples % PERIOD + 1
            last.parts.append((start, end))
            last.samples += end - start
    return found


def _runs(wide: "np.ndarray[tuple[int], np.dtype[np.int32]]") -> list[tuple[int, int]]:
    """Stretches in which every sample is the sawtooth's next after the one before."""
    step = np.diff(wide)
    follows = ((step == 1) | (step == 1 - PERIOD)) & (wide[:-1] > 0)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], follows.astype(np.int8), [0]))))
    return [(int(a), int(b) + 1) for a, b in zip(edges[::2], edges[1::2], strict=True) if b + 1 - a >= SHORTEST]


def clips(agent: Pcm, known: Iterable[Clip], *, between: Sequence[Stretch] = ()) -> list[Stretch]:
    """Every known clip on this tape, in order; `between` are the sentences found before."""
    keys = {}
    for clip in known:
        first = int(np.flatnonzero(clip.pcm)[0])
        keys[clip.pcm[first : first + KEY].tobytes()] = (clip, first)
    free = agent.copy()
    for stretch in between:
        for start, end in stretch.parts:
            free[start:end] = 0
    found: list[Stretch] = []
    at = 0
    while (at := _next_sound(free, at)) < len(free):
        known_clip = keys.get(free[at : at + KEY].tobytes())
        if known_clip is None:
            at = _sound_ends(free, at)
            continue
        clip, first = known_clip
        stretch = Stretch(at - first, clip.words or spread(clip.text, len(clip.pcm)), clip=clip.id)
        done, at = first, at
        while True:
            same = _same(free[at:], clip.pcm[done:])
            stretch.parts.append((at - (first if not stretch.parts else 0), at + same))
            done, at = done + same, at + same
            resumes = _next_sound(free, at)
            onward = _next_sound(clip.pcm, done)
            wanted = clip.pcm[onward : onward + KEY]
            if (
                done >= len(clip.pcm)
                or not len(wanted)
                or not np.array_equal(free[resumes : resumes + len(wanted)], wanted)
            ):
                break
            done, at = onward, resumes
        stretch.samples = done
        found.append(stretch)
    return found


def _next_sound(pcm: Pcm, at: int) -> int:
    loud = np.flatnonzero(pcm[at:])
    return at + int(loud[0]) if len(loud) else len(pcm)


def _sound_ends(pcm: Pcm, at: int) -> int:
    """Just after the sound at `at`, when 20 ms of silence follow it."""
    quiet = RATE // 50
    loud = np.flatnonzero(pcm[at:])
    gaps = np.flatnonzero(np.diff(loud) > quiet)
    return at + int(loud[gaps[0]]) + 1 if len(gaps) else len(pcm)


def _same(a: Pcm, b: Pcm) -> int:
    """Length of the common beginning."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length


def old_sound_ends(found: Sequence[Stretch], onset: int) -> int | None:
    """Where everything that had begun before `onset` is heard no more; None when nothing of ours was audible then.

    The detector may hear a voice a moment before it is loud enough for us to say that it has begun.
    """
    old = [s for s in found if s.start < onset]
    audible = any(start <= onset < end + EARLY for s in old for start, end in s.parts)
    return max(s.end for s in old) if audible else None
