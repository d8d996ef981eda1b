"""Promise: what was sealed once can be proven and opened by every later release; both verifiers agree on every vector.

The vectors are frozen. A new format version gets new files; these stay.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from audit import errors, verify_export
from audit.export import verify_file
from audit.records import Content, Header, Record, Stage
from audit.sealing import DataKey, WrappedKey, reader_id, unwrap
from tests.audit.forge import CALL, PRIVATE

FOLDER = Path(__file__).parents[1] / "vectors" / "audit"
CHAINS = sorted(FOLDER.glob("chain_*.json"))


def load(path: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return vector


def as_file(vector: dict[str, Any], folder: Path) -> Path:
    path = folder / "export.jsonl"
    path.write_text("".join(f"{line}\n" for line in vector["export"]), encoding="utf-8")
    return path


def test_the_vectors_are_there() -> None:
    assert len(CHAINS) >= 20
    assert sum(load(path)["valid"] for path in CHAINS) >= 5


@pytest.mark.parametrize("path", CHAINS, ids=lambda path: path.stem)
def test_our_verifier_says_what_the_vector_says(path: Path, tmp_path: Path) -> None:
    vector = load(path)
    file = as_file(vector, tmp_path)
    if vector["valid"]:
        proven = verify_file(file, PRIVATE)
        assert proven.records == proven.opened == vector["records"]
        return
    with pytest.raises(errors.ChainBroken) as found:
        verify_file(file)
    assert type(found.value).__name__ == vector["error"]
    place = {"segment": found.value.segment, "sequence": found.value.sequence, "offset": found.value.offset}
    assert place == vector["place"]


@pytest.mark.parametrize("path", CHAINS, ids=lambda path: path.stem)
def test_the_second_verifier_agrees(path: Path, tmp_path: Path) -> None:
    vector = load(path)
    raw = as_file(vector, tmp_path).read_bytes()
    if vector["valid"]:
        assert f"{vector['records']} records proven" in verify_export.check(raw)
        assert f"{vector['records']} seals opened" in verify_export.check(raw, PRIVATE)
    else:
        with pytest.raises(verify_export.Finding):
            verify_export.check(raw)


def test_a_record_is_the_same_bytes_for_ever() -> None:
    vector = load(FOLDER / "seal.json")
    key = DataKey(CALL, bytes.fromhex(vector["data_key"]))
    header = Header(CALL, 0, 1, vector["bucket"], bytes.fromhex(vector["prev"]), key.id)
    content = Content(
        Stage(vector["stage"]),
        vector["turn"],
        vector["monotonic_ns"],
        vector["wall_ns"],
        vector["payload"],
        vector["versions"],
    )
    record = key._seal(header, content.encode(), bytes.fromhex(vector["nonce"]))
    assert (key.id, key.commitment.hex()) == (vector["key_id"], vector["commitment"])
    assert record.header.decode() == vector["header"]
    assert record.sealed.hex() == vector["sealed"]
    assert record.hash.hex() == vector["hash"]
    assert key.open(Record(record.header, record.nonce, record.sealed)) == content


def test_a_wrapped_key_opens_for_ever() -> None:
    vector = load(FOLDER / "wrap.json")
    reader = reader_id(bytes.fromhex(vector["reader_public"]))
    wrapped = WrappedKey(vector["key_id"], vector["call"], reader, bytes.fromhex(vector["wrapped"]))
    key = unwrap(wrapped, bytes.fromhex(vector["reader_private"]))
    assert key.commitment == DataKey(vector["call"], bytes.fromhex(vector["data_key"])).commitment
