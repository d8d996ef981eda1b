"""Promise: offers of real phones are understood, every m= line gets its answer, and nonsense is refused in fixed words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.bench.sip import sdp
from triage.bench.sip.ports import CODECS, Codec

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"


def body(*lines: str, head: str = HEAD) -> bytes:
    return (head + "".join(f"{line}\r\n" for line in lines)).encode()


def test_a_phones_offer() -> None:
    remote = sdp.parse(
        body("m=audio 4000 RTP/AVP 9 8 0 101", "a=rtpmap:9 G722/8000", "a=rtpmap:101 telephone-event/8000")
    )
    assert [codec.name for codec in remote.codecs] == ["G722", "PCMA", "PCMU"]
    assert (remote.host, remote.port, remote.direction, remote.events_type) == ("127.0.0.1", 4000, "sendrecv", 101)
    assert sdp.agreed(remote) == Codec("G722", 16000, 9)
    assert sdp.agreed(remote, ["PCMU", "PCMA"]) == Codec("PCMA", 8000, 8)
    assert sdp.agreed(remote, rate=8000) == Codec("PCMA", 8000, 8)
    assert sdp.agreed(remote, ["PCMU"], rate=16000) is None


def test_a_codec_may_have_any_number_and_wideband_pcmu_is_not_ours() -> None:
    remote = sdp.parse(body("m=audio 4000 RTP/AVP 96 97", "a=rtpmap:96 PCMU/16000", "a=rtpmap:97 pcmu/8000"))
    assert remote.codecs == (Codec("PCMU", 8000, 97),)


@pytest.mark.parametrize(
    ("theirs", "ours", "held"),
    [
        ("sendrecv", "sendrecv", False),
        ("sendonly", "recvonly", True),
        ("recvonly", "sendonly", False),
        ("inactive", "inactive", True),
    ],
)
def test_the_answer_has_the_reverse_direction(theirs: str, ours: str, held: bool) -> None:
    remote = sdp.parse(body("m=audio 4000 RTP/AVP 0", f"a={theirs}"))
    assert remote.holds_us is held
    answer = sdp.parse(sdp.answer(remote, remote.codecs[0], "127.0.0.1", 5000, 1))
    assert answer.direction == ours


def test_the_session_says_the_direction_where_the_stream_does_not() -> None:
    assert sdp.parse(body("m=audio 4000 RTP/AVP 0", head=HEAD + "a=sendonly\r\n")).direction == "sendonly"


def test_the_old_way_to_hold() -> None:
    remote = sdp.parse(
        body("c=IN IP4 0.0.0.0", "m=audio 4000 RTP/AVP 0", head=HEAD.replace("127.0.0.1\r\nt", "0.0.0.0\r\nt"))
    )
    assert remote.holds_us and remote.direction == "sendonly"


def test_every_other_stream_is_refused_in_its_place() -> None:
    remote = sdp.parse(body("m=video 4002 RTP/AVP 96", "m=audio 4000 RTP/AVP 0", "m=audio 4004 RTP/AVP 8"))
    answer = sdp.answer(remote, remote.codecs[0], "127.0.0.1", 5000, 3).decode()
    assert [line for line in answer.splitlines() if line.startswith("m=")] == [
        "m=video 0 RTP/AVP 96",
        "m=audio 5000 RTP/AVP 0",
        "m=audio 0 RTP/AVP 8",
    ]
    assert "telephone-event" not in answer


def test_our_offer_is_understood_by_ourselves() -> None:
    remote = sdp.parse(sdp.offer("127.0.0.1", 5000, CODECS, 1))
    assert tuple(codec.name for codec in remote.codecs) == CODECS
    assert (remote.port, remote.events_type, remote.holds_us) == (5000, 101, False)


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff\xfe",
        b"hello",
        body(),
        body("m=audio 0 RTP/AVP 0"),
        body("m=audio 70000 RTP/AVP 0"),
        body("m=audio 4000 RTP/SAVP 0"),
        body("m=audio 4000 RTP/AVP"),
        body("m=audio 4000 RTP/AVP 0", head="v=0\r\n"),
        body("m=audio 4000 RTP/AVP 0", head=HEAD.replace("127.0.0.1", "999.0.0.1")),
        body(*["a=x"] * 300, "m=audio 4000 RTP/AVP 0"),
    ],
)
def test_what_is_no_offer_is_refused(broken: bytes) -> None:
    with pytest.raises(sdp.BadSdp):
        sdp.parse(broken)


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from(body("m=audio 4000 RTP/AVP 0").split(b"\r\n"))).map(b"\n".join)
)
def test_any_bytes_are_understood_or_refused(raw: bytes) -> None:
    try:
        remote = sdp.parse(raw)
    except sdp.BadSdp:
        return
    for codec in remote.codecs:
        sdp.parse(sdp.answer(remote, codec, "127.0.0.1", 5000, 1))
