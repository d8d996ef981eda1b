"""A recording that is written at positions: int16 mono, sample-exact, silent where nothing was written."""

import numpy as np

from triage.ports import RATE, Pcm

BLOCK = 60 * RATE
"""Samples per block of memory."""


class Tape:
    """Grows by blocks, so that a long call never copies what it has."""

    def __init__(self) -> None:
        self._blocks: dict[int, Pcm] = {}
        self.end = 0
        """Position just after the last written sample."""

    def add(self, at: int, pcm: Pcm) -> None:
        """Mix `pcm` in from position `at` (0 or later); clipped where both together are too loud."""
        fresh = at >= self.end  # nothing to mix with
        for block, inside, piece in self._parts(at, pcm):
            place = block[inside : inside + len(piece)]
            place[:] = piece if fresh else np.clip(place.astype(np.int32) + piece, -32768, 32767)
        self.end = max(self.end, at + len(pcm))

    def mute(self, start: int, end: int) -> None:
        """Silence from `start` to `end`."""
        if start < end:
            for block, inside, piece in self._parts(start, np.zeros(end - start, dtype=np.int16)):
                block[inside : inside + len(piece)] = 0

    def erase(self, at: int) -> None:
        """Silence from position `at` on, and let the tape end there."""
        self.mute(at, self.end)
        self.end = min(self.end, at)

    def read(self, start: int, end: int) -> Pcm:
        """Samples from `start` to `end`; silence before 0 and after what was written."""
        out = np.zeros(max(0, end - start), dtype=np.int16)
        position = max(start, 0)
        while position < end:
            number, inside = divmod(position, BLOCK)
            count = min(BLOCK - inside, end - position)
            block = self._blocks.get(number)
            if block is not None:
                out[position - start : position - start + count] = block[inside : inside + count]
            position += count
        return out

    def _parts(self, at: int, pcm: Pcm) -> list[tuple[Pcm, int, Pcm]]:
        parts, offset = [], 0
        while offset < len(pcm):
            number, inside = divmod(at + offset, BLOCK)
            count = min(BLOCK - inside, len(pcm) - offset)
            block = self._blocks.get(number)
            if block is None:
                block = self._blocks[number] = np.zeros(BLOCK, dtype=np.int16)
            parts.append((block, inside, pcm[offset : offset + count]))
            offset += count
        return parts
