"""Promise: packets at rest show nothing without the reader's key and the code, the newest version wins, and they expire."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.handoff.test_desk import PACKET
from triage.errors import Refused, SettingError
from triage.handoff.post import Undelivered
from triage.handoff.shelf import HOUR_NS, Shelf

KEY = X25519PrivateKey.generate()
PRIVATE, PUBLIC = KEY.private_bytes_raw(), KEY.public_key().public_bytes_raw()
SAID = replace(PACKET, situation={"caller's words": '"my chest, señora" (turn 2)', "caller's number": "+15550147788"})


def shelf(folder: Path, keep_h: float = 24.0) -> Shelf:
    return Shelf(folder / "packets", public_key=PUBLIC, keep_h=keep_h)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "packets").iterdir())


def test_what_lies_there_shows_neither_words_nor_code_nor_call(tmp_path: Path) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    (lying,) = files(tmp_path)
    raw = lying.read_bytes()
    for secret in ("chest", "0147788", SAID.code, SAID.call_id, "urgent", "nurse_now", "turn"):
        assert secret.encode() not in raw and secret not in lying.name
    assert stat.S_IMODE(lying.stat().st_mode) == 0o600
    assert stat.S_IMODE(lying.parent.stat().st_mode) == 0o700


def test_key_and_code_together_open_it_in_another_process(tmp_path: Path) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    assert Shelf(tmp_path / "packets").open(SAID.code, PRIVATE, wall_ns=2) == SAID


def test_the_key_without_the_code_opens_nothing(tmp_path: Path) -> None:
    """Who has disk and key but no code cannot open a packet by trying it under another's name either."""
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    with pytest.raises(Refused, match="no packet with this code"):
        shelf(tmp_path).open("some-other-code", PRIVATE, wall_ns=1)
    shelf(tmp_path).deliver(replace(SAID, code="mine"), wall_ns=1)
    first, second = files(tmp_path)
    raw = {path: path.read_bytes() for path in (first, second)}
    first.write_bytes(raw[second])
    second.write_bytes(raw[first])
    for code in (SAID.code, "mine"):
        with pytest.raises(Refused, match="does not open"):
            shelf(tmp_path).open(code, PRIVATE, wall_ns=1)


def test_the_code_without_the_key_opens_nothing(tmp_path: Path) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    for key in (X25519PrivateKey.generate().private_bytes_raw(), b"short"):
        with pytest.raises(Refused, match="does not open with this key"):
            shelf(tmp_path).open(SAID.code, key, wall_ns=1)


@pytest.mark.parametrize("at", [5, -1, -400])
def test_a_changed_byte_is_found_wherever_it_lies(tmp_path: Path, at: int) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    (lying,) = files(tmp_path)
    raw = bytearray(lying.read_bytes())
    raw[at] ^= 1
    lying.write_bytes(raw)
    with pytest.raises(Refused):
        shelf(tmp_path).open(SAID.code, PRIVATE, wall_ns=1)


def test_the_clear_line_cannot_be_rewritten_to_live_longer(tmp_path: Path) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    (lying,) = files(tmp_path)
    clear, _, sealed = lying.read_bytes().partition(b"\n")
    header = json.loads(clear)
    lying.write_bytes(json.dumps({**header, "made_ns": 10**18}).encode() + b"\n" + sealed)
    with pytest.raises(Refused):
        shelf(tmp_path).open(SAID.code, PRIVATE, wall_ns=1)


def test_the_newest_version_wins_in_whatever_order_they_come(tmp_path: Path) -> None:
    for version in (1, 3, 2):
        shelf(tmp_path).deliver(replace(SAID, version=version, rank=version), wall_ns=1)
    assert shelf(tmp_path).open(SAID.code, PRIVATE, wall_ns=1).version == 3
    assert len(files(tmp_path)) == 1


def test_packets_expire_and_are_wiped_by_whoever_comes_next(tmp_path: Path) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=SAID.made_ns)
    later = SAID.made_ns + 24 * HOUR_NS
    assert shelf(tmp_path).open(SAID.code, PRIVATE, wall_ns=later) == SAID
    shelf(tmp_path).deliver(replace(SAID, code="new", made_ns=later), wall_ns=later + 1)
    assert len(files(tmp_path)) == 1, "the old one was wiped when the new one came"
    with pytest.raises(Refused, match="no packet with this code"):
        shelf(tmp_path).open(SAID.code, PRIVATE, wall_ns=later + 1)
    with pytest.raises(Refused):
        shelf(tmp_path, keep_h=1).open("new", PRIVATE, wall_ns=later + 2 * HOUR_NS)
    assert files(tmp_path) == []


def test_lengths_tell_little(tmp_path: Path) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    shelf(tmp_path).deliver(replace(SAID, code="longer", situation={"caller's words": "x" * 150}), wall_ns=1)
    sizes = {len(path.read_bytes()) for path in files(tmp_path)}
    assert len(sizes) == 1


def test_a_full_or_foreign_disk_is_a_delivery_that_failed_and_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "packets").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(Undelivered, match="disk") as failed:
        shelf(tmp_path).deliver(SAID, wall_ns=1)
    assert not failed.value.lasting
    (tmp_path / "packets").unlink()
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    assert len(files(tmp_path)) == 1


def test_nothing_is_ever_put_there_in_clear(tmp_path: Path) -> None:
    with pytest.raises(Undelivered, match="no key") as refused:
        Shelf(tmp_path / "packets").deliver(SAID, wall_ns=1)
    assert refused.value.lasting and not (tmp_path / "packets").exists()
    with pytest.raises(SettingError, match="public key is damaged"):
        Shelf(tmp_path, public_key=b"short")


def test_what_was_being_written_when_the_power_went_is_no_packet(tmp_path: Path) -> None:
    shelf(tmp_path).deliver(SAID, wall_ns=1)
    (lying,) = files(tmp_path)
    beside = lying.with_name(f"{lying.name}.1.new")
    beside.write_bytes(lying.read_bytes()[:40])
    os.truncate(lying, 100)
    with pytest.raises(Refused):
        shelf(tmp_path).open(SAID.code, PRIVATE, wall_ns=1)
