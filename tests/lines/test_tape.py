"""Promise: a tape holds every sample where it was written, over any number of blocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lines.world import noise
from triage.lines.tape import BLOCK, Tape


def test_what_was_written_is_read_back_across_blocks() -> None:
    tape, pcm = Tape(), noise(1.0, 1)
    tape.add(BLOCK - 7000, pcm)
    assert np.array_equal(tape.read(BLOCK - 7000, BLOCK - 7000 + len(pcm)), pcm)
    assert not tape.read(BLOCK - 8000, BLOCK - 7000).any()
    assert not tape.read(BLOCK + 9000, 3 * BLOCK).any()
    assert tape.end == BLOCK - 7000 + len(pcm)


def test_before_the_beginning_is_silence() -> None:
    tape = Tape()
    tape.add(0, np.full(10, 5, dtype=np.int16))
    assert tape.read(-5, 5).tolist() == [0] * 5 + [5] * 5


def test_two_voices_are_mixed_and_clipped() -> None:
    tape = Tape()
    tape.add(0, np.full(4, 30_000, dtype=np.int16))
    tape.add(2, np.full(4, 10_000, dtype=np.int16))
    tape.add(2, np.full(1, -70, dtype=np.int16))
    assert tape.read(0, 6).tolist() == [30_000, 30_000, 32_697, 32_767, 10_000, 10_000]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "erase", "mute"]), st.integers(0, 300), st.integers(0, 200)), max_size=20
    )
)
def test_it_agrees_with_one_long_array(edits: list[tuple[str, int, int]]) -> None:
    tape, plain = Tape(), np.zeros(3 * BLOCK, dtype=np.int16)
    base, end = BLOCK - 150, 0
    for what, at, length in edits:
        start = base + at
        if what == "add":
            tape.add(start, np.full(length, 3, dtype=np.int16))
            plain[start : start + length] += 3
            end = max(end, start + length)
        elif what == "erase":
            tape.erase(start)
            plain[start:] = 0
            end = min(end, start)
        else:
            tape.mute(start, start + length)
            plain[start : start + length] = 0
        assert tape.end == end
    assert np.array_equal(tape.read(base - 10, base + 600), plain[base - 10 : base + 600])
