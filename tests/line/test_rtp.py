"""Promise: packets come out in order, once, with a hole for each lost one; a key is heard once and sent by the book."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.bench.media.rtp import (
    HOLD,
    KEYS,
    LONGEST_GAP,
    TICK,
    KeyListener,
    Outflow,
    Packet,
    Reorder,
    key_events,
    parse_packet,
)


def packet(sequence: int, ssrc: int = 7, timestamp: int = 0) -> Packet:
    return Packet(0, sequence & 0xFFFF, timestamp, ssrc, b"x")


def out(reorder: Reorder, *sequences: int) -> list[int | None]:
    return [due and due.sequence for sequence in sequences for due in reorder.push(packet(sequence))]


# --- bytes


@given(st.integers(0, 71), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.binary(max_size=50), st.booleans())
def test_a_packet_comes_back_as_it_went(kind: int, sequence: int, stamp: int, payload: bytes, marker: bool) -> None:
    sent = Packet(kind, sequence, stamp, 1234, payload, marker)
    assert parse_packet(sent.to_bytes()) == sent


def test_extension_sources_and_padding_are_cut_off() -> None:
    head = struct.pack(">BBHII", 0x80 | 0x20 | 0x10 | 1, 8, 5, 6, 7)
    datagram = head + b"SRC1" + struct.pack(">HH", 0xBEDE, 1) + b"ext!" + b"audio" + b"\0\0\3"
    assert parse_packet(datagram) == Packet(8, 5, 6, 7, b"audio")


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x80" * 11,
        b"\x40" + bytes(11),
        struct.pack(">BBHII", 0x80, 200, 1, 2, 3) + bytes(8),
        struct.pack(">BBHII", 0x8F, 0, 1, 2, 3) + bytes(8),
        struct.pack(">BBHII", 0x90, 0, 1, 2, 3) + b"\0\0\xff\xff",
        struct.pack(">BBHII", 0x90, 0, 1, 2, 3),
        struct.pack(">BBHII", 0xA0, 0, 1, 2, 3) + b"\x50",
        struct.pack(">BBHII", 0xA0, 0, 1, 2, 3) + b"\x00",
    ],
    ids=["empty", "short", "version 1", "RTCP", "sources cut", "extension cut", "no extension", "padding", "padding 0"],
)
def test_what_is_no_packet_is_none(datagram: bytes) -> None:
    assert parse_packet(datagram) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_none(datagram: bytes) -> None:
    parsed = parse_packet(datagram)
    assert parsed is None or len(parsed.payload) <= len(datagram)


# --- order


def test_in_order_nothing_waits() -> None:
    assert out(Reorder(), 65534, 65535, 0, 1) == [65534, 65535, 0, 1]


def test_a_swapped_pair_is_put_right_and_a_double_dropped() -> None:
    assert out(Reorder(), 10, 12, 11, 11, 12, 13) == [10, 11, 12, 13]


def test_a_lost_packet_leaves_one_hole() -> None:
    reorder = Reorder()
    assert out(reorder, 10, 12, 13, 14) == [10]
    assert out(reorder, 15) == [None, 12, 13, 14, 15]
    assert reorder.lost == 1


def test_what_comes_after_its_hole_is_too_late() -> None:
    reorder = Reorder()
    assert out(reorder, 10, 12, 13, 14, 15, 11, 16) == [10, None, 12, 13, 14, 15, 16]


def test_a_long_break_and_another_sender_begin_anew() -> None:
    reorder = Reorder()
    assert out(reorder, 10, 10 + LONGEST_GAP + 5) == [10, 10 + LONGEST_GAP + 5]
    assert [due and due.ssrc for due in reorder.push(packet(3, ssrc=9))] == [9]


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-2, 6), max_size=60))
def test_sequence_numbers_only_grow_and_never_more_wait_than_may(start: int, jumps: list[int]) -> None:
    reorder, at, seen = Reorder(), start, []
    for jump in [0, *jumps]:
        at += jump
        seen += out(reorder, at)
        assert len(reorder._held) <= HOLD
    numbers = [n for n in seen if n is not None]
    assert all(((b - a) & 0xFFFF) < 0x8000 and a != b for a, b in pairwise(numbers))
    assert reorder.lost == seen.count(None)


# --- keys


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_we_send_is_heard_once(key: str) -> None:
    events = [event for event in key_events(key) if event]
    assert [marker for _, marker in events] == [True] + [False] * 7
    assert [payload[1] >> 7 for payload, _ in events] == [0] * 5 + [1] * 3
    assert [int.from_bytes(payload[2:], "big") for payload, _ in events] == [160, 320, 480, 640, 800, 800, 800, 800]
    listener = KeyListener()
    heard = [listener.push(Packet(101, n, 1000, 7, payload)) for n, (payload, _) in enumerate(events)]
    assert heard == [key] + [None] * 7


def test_the_same_key_twice_is_two_keys_and_an_end_that_comes_late_is_none() -> None:
    listener = KeyListener()
    five = struct.pack(">BBH", 5, 10, 160)
    assert [listener.push(Packet(101, 0, stamp, 7, five)) for stamp in (1000, 1000, 4000, 1000, 4000)] == [
        "5", None, "5", None, None,
    ]  # fmt: skip


@pytest.mark.parametrize("payload", [b"", b"\x05", struct.pack(">BBH", 16, 10, 160)], ids=["empty", "cut", "a flash"])
def test_what_is_no_key_is_not_heard(payload: bytes) -> None:
    assert KeyListener().push(Packet(101, 0, 0, 7, payload)) is None


def test_an_unknown_key_is_not_sent() -> None:
    with pytest.raises(ValueError):
        next(key_events("x"))


# --- what is sent


def test_the_clock_runs_on_and_numbers_have_no_holes() -> None:
    flow = Outflow(ssrc=7, sequence=65535, timestamp=2**32 - TICK)
    first = parse_packet(flow.packet(0, b"a", marker=True))
    flow.tick()
    flow.tick()
    second = parse_packet(flow.packet(0, b"b"))
    assert first and second
    assert (first.sequence, first.timestamp, first.marker) == (65535, 2**32 - TICK, True)
    assert (second.sequence, second.timestamp, second.marker) == (0, TICK, False)
