"""Promise: nothing that was sealed opens under another key, another place, or after one altered bit; nonces are fresh."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import SealBroken
from audit.records import Content, Header, Stage
from audit.sealing import DataKey, WrappedKey, unwrap
from tests.audit.forge import CALL, OTHER, PRIVATE, WALL, public

KEY = DataKey(CALL, b"\x05" * 32)
HEADER = Header(CALL, 0, 1, 1, bytes(32), KEY.id)
CONTENT = Content(Stage.STT_FINAL, 1, 1, WALL, {"text": "here"}, {})
RECORD = KEY.seal(HEADER, CONTENT.encode())
WRAPPED = KEY.wrap(public())


def test_the_right_key_opens() -> None:
    assert KEY.open(RECORD) == CONTENT


@given(at=st.integers(0, len(RECORD.body) - 1), bit=st.integers(0, 7))
def test_one_bit_anywhere_keeps_it_shut(at: int, bit: int) -> None:
    body = bytearray(RECORD.body)
    body[at] ^= 1 << bit
    head = len(RECORD.header)
    altered = replace(
        RECORD, header=bytes(body[:head]), nonce=bytes(body[head : head + 12]), sealed=bytes(body[head + 12 :])
    )
    with pytest.raises(SealBroken):
        KEY.open(altered)


def test_a_seal_does_not_open_in_another_place_or_under_another_key() -> None:
    moved = replace(RECORD, header=replace(HEADER, sequence=2).encode())
    with pytest.raises(SealBroken):
        KEY.open(moved)
    with pytest.raises(SealBroken):
        DataKey(CALL, b"\x06" * 32).open(RECORD)


def test_nonces_and_keys_are_fresh() -> None:
    assert len({KEY.seal(HEADER, CONTENT.encode()).nonce for _ in range(2000)}) == 2000
    assert DataKey.fresh(CALL).commitment != DataKey.fresh(CALL).commitment


def test_a_wrapped_key_opens_for_its_reader_its_call_and_its_name_only() -> None:
    assert unwrap(WRAPPED, PRIVATE).open(RECORD) == CONTENT
    for bent in (
        replace(WRAPPED, call=OTHER),
        replace(WRAPPED, key="00" * 8),
        replace(WRAPPED, wrapped=WRAPPED.wrapped[:-1]),
        replace(WRAPPED, wrapped=b""),
        replace(WRAPPED, wrapped=bytes([WRAPPED.wrapped[0] ^ 1]) + WRAPPED.wrapped[1:]),
    ):
        with pytest.raises(SealBroken):
            unwrap(bent, PRIVATE)
    with pytest.raises(SealBroken):
        unwrap(WRAPPED, b"\x09" * 32)


def test_a_key_wrapped_under_a_false_name_is_refused() -> None:
    other = DataKey(CALL, b"\x0a" * 32)
    lying = DataKey(CALL, b"\x0a" * 32)
    lying.id = KEY.id
    wrapped = lying.wrap(public())
    with pytest.raises(SealBroken, match="filed"):
        unwrap(WrappedKey(KEY.id, CALL, wrapped.reader, wrapped.wrapped), PRIVATE)
    assert other.id != KEY.id
