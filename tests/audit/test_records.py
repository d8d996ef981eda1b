"""Promise: the same facts give the same bytes on every machine; what has no such bytes is refused, by path, not by value."""

import json
import time
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import NotCanonical, SealBroken
from audit.records import BUCKET_NS, PAD, Content, Header, Record, Stage, canonical, padded, time_bucket, unpadded
from audit.sealing import DataKey
from tests.audit.forge import CALL, WALL

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(payload=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), PLAIN, max_size=5))
def test_plain_data_comes_back_and_its_bytes_do_not_depend_on_order(payload: dict[str, Any]) -> None:
    try:
        raw = canonical(payload)
    except NotCanonical:  # a nested key with half a surrogate pair
        return
    assert json.loads(raw) == payload
    assert canonical(dict(reversed(payload.items()))) == raw


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"confidence": 0.5}, "confidence is a float"),
        ({"words": [{"c": 1}, {"c": float("nan")}]}, "words[1].c is a float"),
        ({"a": {1: "x"}}, "a has a key that is not text"),
        ({"raw": b"secret"}, "raw is a bytes"),
        ({"at": {"x"}}, "at is a set"),
        ({"text": "crushing \ud800 pain"}, "surrogate"),
    ],
)
def test_what_is_not_canonical_is_refused_by_path(payload: dict[str, Any], path: str) -> None:
    with pytest.raises(NotCanonical) as told:
        canonical(payload)
    assert path in str(told.value)
    assert "secret" not in str(told.value)
    assert "crushing" not in str(told.value)


@given(content=st.binary(max_size=3 * PAD))
def test_padding_hides_length_in_steps_and_comes_off(content: bytes) -> None:
    raw = padded(content)
    assert len(raw) % PAD == 0
    assert len(raw) - len(content) <= PAD + 3
    assert unpadded(raw) == content


@pytest.mark.parametrize(
    "raw",
    [b"", bytes(PAD - 1), b"\xff" * PAD, padded(b"x")[:-1] + b"\x01", padded(b"x") + bytes(PAD)],
    ids=["empty", "short", "length too big", "padding not zero", "padded twice"],
)
def test_padding_that_a_writer_would_not_make_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="padded"):
        unpadded(raw)


@pytest.mark.parametrize("turn", ["two short words", "x" * 700])
def test_a_short_turn_and_a_longer_one_have_the_same_sealed_size(turn: str) -> None:
    key = DataKey.fresh(CALL)
    header = Header(CALL, 0, 1, 1, bytes(32), key.id)
    record = key.seal(header, Content(Stage.STT_FINAL, 1, 1, WALL, {"text": turn}, {}).encode())
    assert len(record.sealed) == PAD + 16


def test_the_clear_header_says_nothing_of_stage_turn_or_minute() -> None:
    key = DataKey.fresh(CALL)
    clear = key.seal(Header(CALL, 0, 1, 1, bytes(32), key.id), Content(Stage.TOOL, 1, 1, WALL, {}, {}).encode()).header
    assert set(json.loads(clear)) == {"v", "call", "segment", "sequence", "bucket", "prev", "key"}


@pytest.mark.parametrize("moment", ["2026-11-21 12:00:00", "2026-11-21 12:59:59.999999"])
def test_the_time_bucket_is_the_hour(moment: str) -> None:
    with freeze_time(moment):
        assert time_bucket(time.time_ns()) == 498_684
    with freeze_time("2026-11-21 13:00:00"):
        assert time_bucket(time.time_ns()) == 498_685
        assert time_bucket(time.time_ns() - 1) * BUCKET_NS < time.time_ns() - BUCKET_NS + 1


@pytest.mark.parametrize(
    "bent",
    [b"{}", b"[]", b"\xff", b"null", b'{"a":' * 5000, b'{"v":1}'],
)
def test_a_header_that_is_none_is_refused(bent: bytes) -> None:
    with pytest.raises(NotCanonical):
        Header.decode(bent)


def test_a_header_in_another_spelling_is_refused() -> None:
    raw = Header(CALL, 0, 0, 1, bytes(32), "k").encode()
    assert Header.decode(raw).encode() == raw
    with pytest.raises(NotCanonical, match="canonical form"):
        Header.decode(raw.replace(b'"call":', b'"call": '))
    with pytest.raises(NotCanonical, match="version"):
        Header.decode(raw.replace(b'"v":1', b'"v":2'))


def test_content_that_is_none_is_refused() -> None:
    with pytest.raises(SealBroken):
        Content.decode(padded(b'{"stage":"gossip"}'))
    with pytest.raises(SealBroken):
        Content.decode(b"short")


def test_parts_of_a_record() -> None:
    record = Record(b"h" * 10, bytes(12), bytes(20))
    assert [record.part_of(at) for at in (0, 9, 10, 21, 22)] == ["header", "header", "nonce", "nonce", "sealed"]
