"""Promise: one packet each 20 ms to every phone, in order and without drift, whatever the loop is busy with."""

import asyncio
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.line.telephony import heard_s, level, tone
from triage.bench.media.codecs import decoder, encoder
from triage.bench.media.pacer import SLACK, WATCHED, Gaps, MediaSession, MediaSetup, MediaThread
from triage.bench.media.rtp import Packet, parse_packet
from triage.bench.sip.ports import BenchError, Codec, Pcm

PCMU, G722 = Codec("PCMU", 8000, 0), Codec("G722", 16000, 9)


@pytest.fixture
def phone() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(1)
        yield sock


@pytest.fixture
def session() -> Iterator[MediaSession]:
    """One that a test beats by hand."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield MediaSession(sock, 30.0, Gaps())


def setup(phone: socket.socket, codec: Codec = PCMU, *, sending: bool = True, events: int | None = 101) -> MediaSetup:
    return MediaSetup(codec, events, phone.getsockname(), sending)


def beat(session: MediaSession, phone: socket.socket, ticks: int) -> list[Packet]:
    packets = []
    for n in range(ticks):
        before = session.counts.sent
        session.tick(n * 0.02)
        if session.counts.sent > before:
            packet = parse_packet(phone.recv(2048))
            assert packet is not None
            packets.append(packet)
    return packets


def spoken(packets: list[Packet], codec: Codec = PCMU) -> Pcm:
    ear = decoder(codec.name)
    return np.concatenate([ear.decode(packet.payload) for packet in packets])


def test_nothing_is_sent_before_the_media_begin_and_silence_after(session: MediaSession, phone: socket.socket) -> None:
    session.send(tone(440, 1, 8000))
    assert beat(session, phone, 3) == []
    session.start(setup(phone))
    packets = beat(session, phone, 3)
    assert [packet.marker for packet in packets] == [True, False, False]
    assert np.abs(spoken(packets)).max() < 10
    assert session.counts.silent == 3


@pytest.mark.parametrize("codec", [PCMU, G722], ids=lambda codec: codec.name)
@pytest.mark.parametrize("piece_ms", [10, 20, 30, 100])
def test_audio_in_pieces_of_any_length_goes_out_whole(
    codec: Codec, piece_ms: int, session: MediaSession, phone: socket.socket
) -> None:
    session.start(setup(phone, codec))
    wave, piece = tone(440, 0.3, codec.rate), codec.rate * piece_ms // 1000
    for at in range(0, len(wave), piece):
        session.send(wave[at : at + piece])
    heard = spoken(beat(session, phone, 15), codec)
    assert level(heard, 440, codec.rate) == pytest.approx(8000 / 32768, rel=0.06)
    assert session.counts.silent == 0


def test_half_a_frame_waits_for_its_other_half_one_beat_long(session: MediaSession, phone: socket.socket) -> None:
    session.start(setup(phone))
    session.send(tone(440, 0.01, 8000))
    packets = beat(session, phone, 3)
    loud = [np.abs(spoken([packet])).max() > 1000 for packet in packets]
    assert loud == [False, True, False]


def test_what_is_no_audio_of_this_call_is_an_error(session: MediaSession, phone: socket.socket) -> None:
    session.start(setup(phone))
    for wrong in (np.zeros(81, np.int16), np.zeros(160, np.float32), np.zeros((80, 2), np.int16)):
        with pytest.raises(ValueError):
            session.send(wrong)


def test_a_burst_plays_and_a_queue_that_stays_long_is_shortened(session: MediaSession, phone: socket.socket) -> None:
    session.start(setup(phone))
    session.send(tone(440, 0.4, 8000))
    beat(session, phone, 20)
    assert session.counts.dropped == 0 and session.counts.silent == 0
    session.send(tone(440, 0.1, 8000))
    for _ in range(6 * WATCHED):
        session.send(tone(440, 0.02, 8000))
        beat(session, phone, 1)
    assert session.counts.dropped == 5 - SLACK
    assert session.counts.silent == 0


def test_what_a_stall_has_piled_up_is_dropped_in_one_piece(session: MediaSession, phone: socket.socket) -> None:
    """Two seconds came at once; the voice goes on in its own time, and is late for half a second only."""
    session.start(setup(phone))
    beat(session, phone, 1)
    session.send(tone(440, 2.0, 8000))
    for _ in range(WATCHED):
        session.send(tone(440, 0.02, 8000))
        beat(session, phone, 1)
    assert session.counts.dropped == 100 - SLACK
    before = session.counts.silent
    session.send(tone(700, 0.02, 8000))
    assert level(spoken(beat(session, phone, SLACK + 2))[160:480], 700, 8000) > 0.05
    assert session.counts.silent <= before + 1


def test_audio_that_comes_three_frames_at_a_time_is_never_shortened(
    session: MediaSession, phone: socket.socket
) -> None:
    session.start(setup(phone))
    for _ in range(2 * WATCHED):
        session.send(tone(440, 0.06, 8000))
        beat(session, phone, 3)
    assert (session.counts.dropped, session.counts.silent) == (0, 0)


def test_flush_forgets_what_waits(session: MediaSession, phone: socket.socket) -> None:
    session.start(setup(phone))
    session.send(tone(440, 0.4, 8000))
    session.flush()
    assert np.abs(spoken(beat(session, phone, 3))).max() < 10


def test_on_hold_nothing_goes_out_and_the_clock_runs_on(session: MediaSession, phone: socket.socket) -> None:
    session.start(setup(phone))
    (first,) = beat(session, phone, 1)
    session.start(setup(phone, sending=False))
    session.send(tone(440, 0.1, 8000))
    assert beat(session, phone, 10) == []
    session.start(setup(phone))
    again = beat(session, phone, 1)[0]
    assert (again.timestamp - first.timestamp) & 0xFFFFFFFF == 11 * 160
    assert (again.sequence - first.sequence) & 0xFFFF == 1 and again.marker
    assert np.abs(spoken([again])).max() < 10


def test_keys_take_the_place_of_audio_and_only_where_they_were_agreed(
    session: MediaSession, phone: socket.socket
) -> None:
    session.start(setup(phone))
    session.press("12")
    with pytest.raises(ValueError):
        session.press("?")
    kinds = [packet.payload_type for packet in beat(session, phone, 24)]
    assert kinds == ([101] * 8 + [0] * 4) * 2
    session.start(setup(phone, events=None))
    session.press("3")
    assert {packet.payload_type for packet in beat(session, phone, 5)} == {0}


async def test_what_a_phone_says_is_heard_in_order_and_gaps_are_silence(phone: socket.socket) -> None:
    media = MediaThread("127.0.0.1", (33_000, 33_098))
    media.start()
    heard: list[Pcm] = []
    keys: list[str] = []
    try:
        session = media.open(30)
        session.on_audio, session.on_digit = heard.append, keys.append
        session.start(setup(phone))
        await asyncio.sleep(0.05)
        mouth, wave = encoder("PCMU"), tone(440, 2.0, 8000)
        for n in (0, 2, 1, 3, 5, 6, 7, 8, 9):  # 1 and 2 swapped, 4 lost
            payload = mouth.encode(wave[n * 160 : n * 160 + 160])
            phone.sendto(Packet(0, 100 + n, n * 160, 7, payload).to_bytes(), ("127.0.0.1", session.port))
        phone.sendto(Packet(101, 110, 1600, 7, b"\x05\x0a\0\xa0").to_bytes(), ("127.0.0.1", session.port))
        phone.sendto(Packet(13, 111, 1600, 7, b"noise").to_bytes(), ("127.0.0.1", session.port))
        phone.sendto(b"rubbish", ("127.0.0.1", session.port))
        await asyncio.sleep(0.1)
        assert keys == ["5"]
        assert [len(frame) for frame in heard] == [160] * 10
        assert [bool(np.abs(frame).max() > 1000) for frame in heard] == [n != 4 for n in range(10)]
        assert (session.counts.received, session.counts.lost) == (10, 1)
    finally:
        await media.stop()


async def test_packets_of_another_length_become_frames_of_20_ms(phone: socket.socket) -> None:
    media = MediaThread("127.0.0.1", (33_100, 33_198))
    media.start()
    heard: list[Pcm] = []
    try:
        session = media.open(30)
        session.on_audio = heard.append
        session.start(setup(phone))
        await asyncio.sleep(0.05)
        wave = tone(440, 0.3, 8000)
        for n in range(10):
            payload = encoder("PCMU").encode(wave[n * 240 : n * 240 + 240])
            phone.sendto(Packet(0, n, n * 240, 7, payload).to_bytes(), ("127.0.0.1", session.port))
        await asyncio.sleep(0.1)
        assert [len(frame) for frame in heard] == [160] * 15
        assert level(np.concatenate(heard), 440, 8000) > 0.2
    finally:
        await media.stop()


async def test_the_beat_goes_on_while_the_loop_is_stuck(phone: socket.socket) -> None:
    """The loop sleeps for 0.6 s in one piece, as no loop should: the phone must not notice."""
    media = MediaThread("127.0.0.1", (33_200, 33_298))
    media.start()
    try:
        session = media.open(30)
        session.start(setup(phone))
        await asyncio.sleep(0.05)
        session.send(tone(440, 1.0, 8000))
        media.gaps.clear()
        time.sleep(0.6)  # noqa: ASYNC251, TID251 being stuck is the test
        found = media.gaps.summary()
        assert found["n"] > 20 and found["max"] < 300, found  # 600 if the thread had waited for the loop
        packets = [parse_packet(phone.recv(2048)) for _ in range(int(found["n"]))]
        assert heard_s(spoken([packet for packet in packets if packet]), 440, 8000) > 0.3
    finally:
        await media.stop()


async def test_one_calls_trouble_does_not_stop_the_others(
    phone: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    media = MediaThread("127.0.0.1", (33_300, 33_398))
    media.start()
    try:
        sound, broken = media.open(30), media.open(30)
        sound.start(setup(phone))
        broken.start(setup(phone, Codec("opus", 48000, 96)))
        await asyncio.sleep(0.2)
        assert sound.counts.sent > 5 and broken.counts.sent == 0
        assert caplog.text.count("media of a call stopped") == 1
    finally:
        await media.stop()


async def test_ports_are_taken_in_turn_given_back_and_run_out_with_a_word() -> None:
    media = MediaThread("127.0.0.1", (33_400, 33_403))
    media.start()
    try:
        first, second = media.open(30), media.open(30)
        assert {first.port, second.port} == {33_400, 33_402}
        with pytest.raises(BenchError, match="RTP port"):
            media.open(30)
        media.close(first)
        await asyncio.sleep(0.1)
        assert media.open(30).port == 33_400
    finally:
        await media.stop()


def test_gaps_are_summed_up_in_ms() -> None:
    gaps = Gaps()
    assert gaps.summary() == {"n": 0}
    for gap in [0.02] * 998 + [0.035, 0.7]:
        gaps.add(gap)
    assert gaps.summary() == {"n": 1000, "p50": 20.0, "p99": 20.0, "p99.9": 35.0, "max": 700.0}
    gaps.clear()
    assert gaps.summary() == {"n": 0}
