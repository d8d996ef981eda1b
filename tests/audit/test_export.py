"""Promise: an exported call can be proven offline, by this package and by a verifier that shares no code with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import verify_export
from audit.errors import ChainBroken, RecordAltered, StoreFailed
from audit.export import export_call, verify_file
from audit.keyring import FileKeyring
from audit.reader import Reader
from tests.audit.forge import CALL, PRIVATE, WALL, whole_call
from tests.audit.stores import CALLS, Setup, say

LINES = whole_call().export()
RAW = "".join(f"{line}\n" for line in LINES).encode()


def both_refuse(raw: bytes, folder: Path, key: bytes | None = None) -> None:
    path = folder / "bent.jsonl"
    path.write_bytes(raw)
    with pytest.raises(ChainBroken):
        verify_file(path, key)
    assert verify_export.main([str(path)]) == 1


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, FileKeyring]:
    setup = Setup(tmp_path, inline=True)
    call = setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    say(call, 1, "here, in my chest")
    call.finish(monotonic_ns=1, wall_ns=WALL)
    reader = Reader(setup.store.inner, setup.keyring)
    path = tmp_path / "call.jsonl"
    assert export_call(reader, CALLS[0], path, at_ns=WALL, who="auditor", purpose="court") == 3
    assert [(one.who, one.what) for one in reader.access.readings()] == [("auditor", "export")]
    setup.writer.close()
    return path, setup.keyring


def test_an_export_is_proven_and_holds_no_word(exported: tuple[Path, FileKeyring]) -> None:
    path, keyring = exported
    assert verify_file(path).records == 3
    assert verify_file(path, keyring.private_key()).opened == 3
    assert b"chest" not in path.read_bytes()


def test_the_second_verifier_runs_alone(exported: tuple[Path, FileKeyring], tmp_path: Path) -> None:
    """Copied to another folder, where this package cannot be imported."""
    path, keyring = exported
    alone = tmp_path / "alone"
    alone.mkdir()
    source = Path(verify_export.__file__).read_text(encoding="utf-8")
    (alone / "check.py").write_text(source, encoding="utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "check.py", *arguments], cwd=alone, capture_output=True, text=True, check=False
        )

    told = run(str(path), "--key", str(keyring.folder / "reader.private"))
    assert (told.returncode, told.stdout.strip()) == (
        0,
        f"call {CALLS[0]}: 3 records proven, chain open, 3 seals opened",
    )
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":9').replace(b'"sequence":1', b'"sequence":7'))
    told = run(str(path))
    assert told.returncode == 1
    assert told.stderr.startswith("NOT PROVEN")
    assert run("nowhere.jsonl").returncode == 2


@given(at=st.integers(0, len(RAW) - 1), bit=st.integers(0, 7))
def test_no_bit_of_the_file_can_change_unseen(at: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    raw = bytearray(RAW)
    raw[at] ^= 1 << bit
    both_refuse(bytes(raw), tmp_path_factory.getbasetemp())


@given(keep=st.integers(0, len(RAW) - 1))
def test_a_file_cut_anywhere_is_refused(keep: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    both_refuse(RAW[:keep], tmp_path_factory.getbasetemp())


@given(lines=st.permutations(range(len(LINES))))
def test_lines_in_any_other_order_are_refused(lines: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    if lines != sorted(lines):
        raw = "".join(f"{LINES[at]}\n" for at in lines).encode()
        both_refuse(raw, tmp_path_factory.getbasetemp())


def test_the_wrong_private_key_is_told(tmp_path: Path) -> None:
    path = tmp_path / "call.jsonl"
    path.write_bytes(RAW)
    (tmp_path / "key").write_bytes(PRIVATE[::-1])
    with pytest.raises(ChainBroken, match="does not open with this private key"):
        verify_file(path, PRIVATE[::-1])
    assert verify_export.main([str(path), "--key", str(tmp_path / "key")]) == 1
    (tmp_path / "key").write_bytes(b"short")
    assert verify_export.main([str(path), "--key", str(tmp_path / "key")]) == 2
    assert verify_export.main([]) == 2


@pytest.mark.parametrize("line", ["[]", "null", "{}", '{"kind":"record"}', '{"kind":"gossip"}'])
def test_a_line_that_is_none_is_refused(line: str, tmp_path: Path) -> None:
    both_refuse("".join(f"{row}\n" for row in [*LINES[:3], line, *LINES[3:]]).encode(), tmp_path)
    both_refuse("".join(f"{row}\n" for row in [line, *LINES]).encode(), tmp_path)


def test_a_broken_call_is_not_exported_as_if_it_were_whole(tmp_path: Path) -> None:
    setup = Setup(tmp_path, inline=True)
    setup.writer.open_call(CALLS[0], monotonic_ns=0, wall_ns=WALL)
    with setup.store.inner.connection() as connection:
        connection.execute("UPDATE record SET header = x'ff' || header")
    with pytest.raises(RecordAltered):
        export_call(Reader(setup.store.inner), CALLS[0], tmp_path / "x", at_ns=1, who="a", purpose="p")
    assert not (tmp_path / "x").exists()
    setup.writer.close()


def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot be read"):
        verify_file(tmp_path / "absent")
    assert json.loads(LINES[0])["call"] == CALL
