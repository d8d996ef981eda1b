"""Promise: any edit, deletion, insertion, reordering, doubling or cut is found and located; without a key.

Hypothesis plays the forger. Without the key a forger can do no better; with the index they can, which is why heads go
into checkpoints kept elsewhere.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import ChainBroken, NonceReused, RecordAltered, RecordForeign, RecordMissing
from audit.locate import altered_at
from audit.records import Content, Header, Purpose, Record, Stage, locator
from audit.verify import Index, Stored, verify_chain
from tests.audit.forge import CALL, OTHER, WALL, Forge, flipped, stored, whole_call

GOOD = whole_call()
ROWS = GOOD.records
ANY = st.integers(0, len(ROWS) - 1)


def broken(records: Sequence[Stored], index: Index | None = None) -> ChainBroken:
    with pytest.raises(ChainBroken) as found:
        verify_chain(index or GOOD.index(), records)
    assert found.value.call == CALL
    return found.value


def test_what_was_written_verifies() -> None:
    proven = verify_chain(GOOD.index(), ROWS, GOOD.keys())
    assert (proven.records, proven.segments, proven.closed, proven.opened) == (8, 2, True, 8)


@given(which=ANY, place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_at_its_byte(which: int, place: float, bit: int) -> None:
    row = ROWS[which]
    offset = int(place * len(row.record.body))
    error = broken([*ROWS[:which], flipped(row, offset, bit), *ROWS[which + 1 :]])
    assert isinstance(error, RecordAltered)
    assert (error.segment, error.sequence, error.offset) == (row.segment, row.sequence, offset)
    assert error.part == row.record.part_of(offset)


@given(which=ANY, places=st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=40, unique=True))
def test_many_edits_in_one_record_are_found_at_the_first_block(which: int, places: list[float]) -> None:
    row = ROWS[which]
    offsets = sorted({int(place * len(row.record.body)) for place in places})
    edited = row
    for offset in offsets:
        edited = flipped(edited, offset)
    error = broken([*ROWS[:which], edited, *ROWS[which + 1 :]])
    assert isinstance(error, RecordAltered)
    assert (error.segment, error.sequence) == (row.segment, row.sequence)
    assert error.offset is not None
    assert error.offset // 64 == offsets[0] // 64


@given(which=ANY, column=st.sampled_from(["hash", "locator"]), at=st.integers(0, 31), bit=st.integers(0, 7))
def test_the_columns_beside_a_record_are_guarded_too(which: int, column: str, at: int, bit: int) -> None:
    row = ROWS[which]
    value = bytearray(getattr(row, column))
    value[at] ^= 1 << bit
    edited: dict[str, Any] = {column: bytes(value)}
    error = broken([*ROWS[:which], replace(row, **edited), *ROWS[which + 1 :]])
    assert isinstance(error, RecordAltered)
    assert (error.segment, error.sequence) == (row.segment, row.sequence)


@given(which=ANY, size=st.integers(1, 600), longer=st.booleans())
def test_a_shortened_or_lengthened_record_is_found(which: int, size: int, longer: bool) -> None:
    row = ROWS[which]
    sealed = row.record.sealed + bytes(size) if longer else row.record.sealed[:-size]
    error = broken([*ROWS[:which], replace(row, record=replace(row.record, sealed=sealed)), *ROWS[which + 1 :]])
    assert isinstance(error, RecordAltered)
    assert (error.segment, error.sequence) == (row.segment, row.sequence)


@given(which=ANY)
def test_a_missing_record_is_named(which: int) -> None:
    error = broken([*ROWS[:which], *ROWS[which + 1 :]])
    assert isinstance(error, RecordMissing)
    assert (error.segment, error.sequence) == (ROWS[which].segment, ROWS[which].sequence)


@given(kept=ANY)
def test_a_closed_chain_that_was_cut_short_is_found_where_it_was_cut(kept: int) -> None:
    error = broken(ROWS[:kept])
    assert isinstance(error, RecordMissing)
    gone = ROWS[kept]
    assert (error.segment, error.sequence) in {(gone.segment, gone.sequence), (0, 5)}


@given(first=ANY, second=ANY)
def test_two_records_that_changed_places_are_found(first: int, second: int) -> None:
    if first == second:
        return
    rows = list(ROWS)
    one, two = ROWS[first], ROWS[second]
    rows[first] = stored(CALL, one.segment, one.sequence, two.record)
    rows[second] = stored(CALL, two.segment, two.sequence, one.record)
    error = broken(rows)
    assert isinstance(error, RecordForeign)
    earlier = rows[min(first, second)]
    assert (error.segment, error.sequence) == (earlier.segment, earlier.sequence)


@given(lines=st.permutations(range(len(ROWS))))
def test_lines_in_another_order_are_found(lines: list[int]) -> None:
    if lines == sorted(lines):
        return
    assert isinstance(broken([ROWS[at] for at in lines]), RecordForeign)


@given(which=ANY, to=st.integers(0, len(ROWS)))
def test_a_doubled_record_is_found(which: int, to: int) -> None:
    error = broken([*ROWS[:to], ROWS[which], *ROWS[to:]])
    assert isinstance(error, RecordForeign)
    assert (error.segment, error.sequence) == (ROWS[which].segment, ROWS[which].sequence)


@given(which=ANY)
def test_a_record_of_another_call_is_found(which: int) -> None:
    foreign = whole_call(OTHER, raw_key=b"\x21" * 32).records[which]
    row = ROWS[which]
    error = broken([*ROWS[:which], stored(CALL, row.segment, row.sequence, foreign.record), *ROWS[which + 1 :]])
    assert isinstance(error, RecordForeign)
    assert (error.segment, error.sequence) == (row.segment, row.sequence)


@given(which=ANY)
def test_a_record_sealed_again_without_the_key_is_found_by_its_neighbours_or_by_the_key(which: int) -> None:
    row = ROWS[which]
    sealer = Forge(raw_key=b"\x33" * 32).open().key
    forged = sealer._seal(
        row.record.clear(), Content(Stage.STT_FINAL, 1, 1, WALL, {"text": "never said"}, {}).encode(), b"\x01" * 12
    )
    rows = [*ROWS[:which], stored(CALL, row.segment, row.sequence, forged), *ROWS[which + 1 :]]
    error = broken(rows)
    assert isinstance(error, RecordForeign)
    assert (error.segment, error.sequence) == (row.segment, row.sequence)


def test_a_forged_last_record_of_an_open_chain_shows_only_with_the_key() -> None:
    forge = Forge().open().add().add()
    last = forge.records[-1]
    sealer = Forge(raw_key=b"\x33" * 32).open().key
    forged = sealer._seal(last.record.clear(), Content(Stage.CALL, 1, 1, WALL, {}, {}).encode(), b"\x01" * 12)
    rows = [*forge.records[:-1], stored(CALL, 0, 2, forged)]
    verify_chain(forge.index(), rows)
    with pytest.raises(RecordForeign) as found:
        verify_chain(forge.index(), rows, forge.keys())
    assert (found.value.segment, found.value.sequence) == (0, 2)


def test_a_nonce_used_twice_is_found() -> None:
    forge = Forge().open().add(nonce=(1).to_bytes(12, "big"))
    with pytest.raises(NonceReused) as found:
        verify_chain(forge.index(), forge.records)
    assert (found.value.segment, found.value.sequence) == (0, 1)


@pytest.mark.parametrize(
    ("bent", "error"),
    [
        ({"number": 2}, RecordForeign),
        ({"closed": False}, RecordForeign),
        ({"head": bytes(32)}, RecordForeign),
        ({"strays": ((0, 2),)}, RecordForeign),
        ({"wrapped": {}}, RecordMissing),
    ],
)
def test_an_index_that_disagrees_is_found(bent: dict[str, Any], error: type[ChainBroken]) -> None:
    assert isinstance(broken(ROWS, replace(GOOD.index(), **bent)), error)


def test_a_wrapped_key_that_was_altered_shows_without_the_private_key() -> None:
    wrapped = {
        key: {reader: bytes([value[0] ^ 1]) + value[1:] for reader, value in kept.items() if value}
        for key, kept in GOOD.wrapped.items()
    }
    assert isinstance(broken(ROWS, replace(GOOD.index(), wrapped=wrapped)), RecordAltered)


def test_a_destroyed_key_leaves_a_chain_that_verifies() -> None:
    wrapped: dict[str, dict[str, bytes | None]] = {key: dict.fromkeys(kept) for key, kept in GOOD.wrapped.items()}
    proven = verify_chain(replace(GOOD.index(), wrapped=wrapped), ROWS)
    assert proven.erased
    assert proven.opened == 0


@pytest.mark.parametrize(
    "build",
    [
        lambda: Forge().open().add(segment=1),
        lambda: Forge().open().add(sequence=5),
        lambda: Forge().open().add(prev=bytes(32)),
        lambda: Forge().open().add(key="00" * 8),
        lambda: Forge().open().add(call=OTHER),
        lambda: Forge().open().add(version=2),
        lambda: Forge().open().open(Purpose.LIVE),
        lambda: Forge().open(Purpose.RESCUE),
    ],
    ids=["segment", "sequence", "prev", "key", "call", "version", "purpose", "first purpose"],
)
def test_a_record_that_its_own_writer_made_wrong_is_refused(build: Callable[[], Forge]) -> None:
    forge = build()
    with pytest.raises(RecordForeign):
        verify_chain(forge.index(), forge.records)


def test_a_segment_that_opens_from_nowhere_says_that_the_end_before_it_is_gone() -> None:
    forge = Forge().open().add().open(Purpose.RESCUE, opens_from=b"\x05" * 32)
    with pytest.raises(RecordMissing) as found:
        verify_chain(forge.index(), forge.records)
    assert (found.value.segment, found.value.sequence) == (0, 2)


def test_an_edit_behind_a_forged_locator_is_still_found() -> None:
    row = flipped(ROWS[2], 700)
    error = broken([*ROWS[:2], replace(row, locator=locator(row.record.body)), *ROWS[3:]])
    assert isinstance(error, RecordAltered)
    assert (error.segment, error.sequence, error.offset) == (0, 2, None)


def test_the_locator_points_at_a_cut() -> None:
    record = Record(b"h" * 100, bytes(12), bytes(1040))
    shorter = replace(record, sealed=bytes(900))
    assert altered_at(shorter, record.hash, locator(record.body)) == len(shorter.body) // 64 * 64


@given(raw=st.binary(max_size=300))
def test_no_bytes_make_the_header_parser_stumble(raw: bytes) -> None:
    item = stored(CALL, 0, 0, Record(raw, bytes(12), bytes(1040)))
    with pytest.raises(ChainBroken):
        verify_chain(Index(CALL), [item])


@given(
    field=st.sampled_from(sorted(json.loads(ROWS[0].record.header))),
    value=st.recursive(
        st.none() | st.integers() | st.text() | st.floats(), lambda inner: st.lists(inner), max_leaves=3
    ),
)
def test_no_header_of_any_shape_makes_it_stumble(field: str, value: object) -> None:
    fields = json.loads(ROWS[0].record.header)
    if fields[field] == value:
        return
    raw = json.dumps({**fields, field: value}, sort_keys=True, separators=(",", ":")).encode()
    item = stored(CALL, 0, 0, Record(raw, ROWS[0].record.nonce, ROWS[0].record.sealed))
    with pytest.raises(ChainBroken):
        verify_chain(GOOD.index(), [item], GOOD.keys())
    assert isinstance(Header.decode(ROWS[0].record.header), Header)
