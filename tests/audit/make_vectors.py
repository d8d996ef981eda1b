"""Made the frozen vectors in tests/vectors/audit once. Never overwrites one: a new format gets new files.

python -m tests.audit.make_vectors
"""

import json
from dataclasses import replace
from pathlib import Path

from audit.records import Closing, Content, Header, Purpose, Record, Stage
from audit.sealing import DataKey
from audit.verify import Index, Stored
from tests.audit.forge import CALL, OTHER, PRIVATE, WALL, Forge, export_lines, flipped, public, stored, whole_call

FOLDER = Path(__file__).parents[1] / "vectors" / "audit"


def chain_vectors() -> dict[str, dict[str, object]]:
    good = whole_call()
    other = whole_call(OTHER, raw_key=b"\x08" * 32, number=2)
    found: dict[str, dict[str, object]] = {}

    def valid(name: str, title: str, forge: Forge) -> None:
        found[name] = {"title": title, "valid": True, "records": len(forge.records), "export": forge.export()}

    def invalid(
        name: str,
        reason: str,
        error: str,
        records: list[Stored],
        place: tuple[int, int, int | None],
        index: Index | None = None,
    ) -> None:
        segment, sequence, offset = place
        found[name] = {
            "title": name.replace("_", " "),
            "valid": False,
            "reason": reason,
            "error": error,
            "place": {"segment": segment, "sequence": sequence, "offset": offset},
            "export": export_lines(index or good.index(), records),
        }

    rows = good.records
    valid("whole_call", "two segments, summary, closed", good)
    valid(
        "open_call",
        "a call whose summary is not written yet",
        Forge().open().add().add(Stage.CALL, {"event": "finished"}),
    )
    valid(
        "outage",
        "the store failed and came back: segments 1 and 2, the gap marked",
        Forge().open().add().open(Purpose.CONTINUED, spooled=True).add().open(Purpose.CONTINUED).add(),
    )
    valid("provisional", "no number was at hand when the call came", Forge(number=None).open().add())
    rescued = Forge().open().add().add()
    head = rescued.records[1].hash
    valid(
        "overlap",
        "the rescue began before the first writer's last record",
        rescued.open(Purpose.RESCUE, opens_from=head).add(),
    )

    offset = len(rows[2].record.header) + 12 + 40
    invalid(
        "one_bit_in_a_seal",
        "one bit of the sealed bytes was changed",
        "RecordAltered",
        [*rows[:2], flipped(rows[2], offset), *rows[3:]],
        (0, 2, offset),
    )
    at = rows[3].record.header.index(b'"bucket":') + 10
    invalid(
        "one_bit_in_a_header",
        "the hour of a record was changed",
        "RecordAltered",
        [*rows[:3], flipped(rows[3], at), *rows[4:]],
        (0, 3, at),
    )
    invalid("record_deleted", "a record was taken out", "RecordMissing", [*rows[:2], *rows[3:]], (0, 2, None))
    invalid("tail_cut", "the closing record was taken off", "RecordMissing", rows[:-1], (1, 2, None))
    invalid("segment_cut", "the summary's segment was taken off", "RecordMissing", rows[:5], (0, 5, None))
    invalid("record_doubled", "a record stands twice", "RecordForeign", [*rows[:3], rows[2], *rows[3:]], (0, 2, None))
    swapped = [
        *rows[:2],
        stored(CALL, 0, 2, rows[3].record),
        stored(CALL, 0, 3, rows[2].record),
        *rows[4:],
    ]
    invalid("records_swapped", "two records changed places", "RecordForeign", swapped, (0, 2, None))
    invalid(
        "lines_swapped",
        "two lines changed places",
        "RecordForeign",
        [*rows[:2], rows[3], rows[2], *rows[4:]],
        (0, 3, None),
    )
    foreign = [*rows[:2], stored(CALL, 0, 2, other.records[2].record), *rows[3:]]
    invalid("foreign_record", "a record of another call stands here", "RecordForeign", foreign, (0, 2, None))
    forger = Forge(raw_key=b"\x09" * 32)
    forger.open()
    forged = forger.key._seal(
        rows[2].record.clear(), Content(Stage.STT_FINAL, 2, 2, WALL, {"text": "never said"}, {}).encode(), b"\x09" * 12
    )
    invalid(
        "forged_record",
        "a record was sealed again by somebody without the key, hash and locator made to fit",
        "RecordForeign",
        [*rows[:2], stored(CALL, 0, 2, forged), *rows[3:]],
        (0, 2, None),
    )
    reused = Forge().open().add(nonce=b"\x01" * 12).add(nonce=b"\x01" * 12)
    invalid("nonce_reused", "two records carry one nonce", "NonceReused", reused.records, (0, 2, None), reused.index())
    grown = whole_call()
    grown.add(Stage.STT_FINAL, {"text": "late"})
    invalid(
        "grown_after_closing",
        "a record stands behind the closing record",
        "RecordForeign",
        grown.records,
        (1, 3, None),
        grown.index(),
    )
    few = Forge().open().add().add().close(counts=(2,))
    invalid(
        "closing_counts_fewer",
        "the closing record counts fewer",
        "RecordForeign",
        few.records,
        (0, 2, None),
        few.index(),
    )
    twice = Forge().open().add()
    twice.add(closes=Closing(heads=(twice.head.hex(),), counts=(5,)))
    invalid(
        "closing_counts_more",
        "the closing record counts more than there are",
        "RecordMissing",
        twice.records,
        (0, 3, None),
        replace(twice.index(), closed=True, head=twice.head),
    )
    lost = Forge().open().add().open(Purpose.RESCUE, opens_from=b"\x05" * 32).add()
    invalid(
        "opens_from_nowhere",
        "a segment opens from no record that is there: the end of the segment before was cut off",
        "RecordMissing",
        lost.records,
        (0, 2, None),
        lost.index(),
    )
    return found


def seal_vectors() -> dict[str, dict[str, object]]:
    """Exact bytes: header, padding, seal, hash, commitment; and a wrapped key to open."""
    key = DataKey(CALL, bytes(range(32)))
    header = Header(call=CALL, segment=0, sequence=1, bucket=486111, prev=b"\x11" * 32, key=key.id)
    payload = {"b": [1, None, True], "a": "chäst páin", "c": {"ns": 10**18}}
    content = Content(Stage.STT_FINAL, 3, 123, WALL, payload, {"rules": "1"})
    record: Record = key._seal(header, content.encode(), bytes(range(12)))
    return {
        "seal": {
            "title": "one record, byte by byte",
            "data_key": bytes(range(32)).hex(),
            "key_id": key.id,
            "commitment": key.commitment.hex(),
            "nonce": record.nonce.hex(),
            "stage": content.stage.value,
            "turn": content.turn,
            "monotonic_ns": content.monotonic_ns,
            "wall_ns": content.wall_ns,
            "payload": payload,
            "versions": {"rules": "1"},
            "prev": header.prev.hex(),
            "bucket": header.bucket,
            "header": record.header.decode(),
            "sealed": record.sealed.hex(),
            "hash": record.hash.hex(),
        },
        "wrap": {
            "title": "a data key wrapped to the reader of all vectors",
            "call": CALL,
            "key_id": key.id,
            "reader_private": PRIVATE.hex(),
            "reader_public": public().hex(),
            "wrapped": key.wrap(public()).wrapped.hex(),
            "data_key": bytes(range(32)).hex(),
        },
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = {f"chain_{name}": vector for name, vector in chain_vectors().items()}
    for name, vector in {**made, **seal_vectors()}.items():
        path = FOLDER / f"{name}.json"
        if path.exists():
            print(f"{path.name} stands")
            continue
        path.write_text(json.dumps(vector, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.name} made")


if __name__ == "__main__":
    main()
