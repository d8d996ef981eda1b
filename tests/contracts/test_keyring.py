"""Promise: a keyring gives the reader's pair or says in one line what is wrong; a writer never gets the private half."""

import base64
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import KeyMissing
from audit.keyring import EnvKeyring, FileKeyring, Keyring, Role
from audit.sealing import DataKey, unwrap


def env_keyring(folder: Path) -> EnvKeyring:
    pair = FileKeyring(folder).ensure()
    return EnvKeyring(
        {
            EnvKeyring.PUBLIC_NAME: base64.b64encode(pair.public_key()).decode(),
            EnvKeyring.PRIVATE_NAME: base64.b64encode(pair.private_key()).decode(),
        }
    )


KEYRINGS: dict[str, Callable[[Path], Keyring]] = {
    "file": lambda folder: FileKeyring(folder / "keys").ensure(),
    "environment": env_keyring,
}


@pytest.mark.parametrize("make", KEYRINGS.values(), ids=KEYRINGS)
class TestKeyring:
    def test_what_the_public_half_wraps_the_private_half_opens(
        self, make: Callable[[Path], Keyring], tmp_path: Path
    ) -> None:
        keyring = make(tmp_path)
        key = DataKey.fresh("a call")
        opened = unwrap(key.wrap(keyring.public_key()), keyring.private_key())
        assert opened.commitment == key.commitment

    def test_it_gives_the_same_pair_again(self, make: Callable[[Path], Keyring], tmp_path: Path) -> None:
        keyring = make(tmp_path)
        assert (keyring.public_key(), keyring.private_key()) == (keyring.public_key(), keyring.private_key())
        assert len(keyring.public_key()) == len(keyring.private_key()) == 32


def test_the_first_run_makes_a_pair_that_only_its_owner_can_read_and_says_where(tmp_path: Path) -> None:
    made = FileKeyring(tmp_path / "keys").ensure()
    private = tmp_path / "keys" / "reader.private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert str(private) in made.warning
    assert "\n" not in made.warning
    again = FileKeyring(tmp_path / "keys").ensure()
    assert again.warning == ""
    assert again.public_key() == made.public_key()


def test_a_writer_has_no_way_to_the_private_half(tmp_path: Path) -> None:
    FileKeyring(tmp_path).ensure()
    writer = FileKeyring(tmp_path, role=Role.WRITER)
    assert writer.public_key()
    with pytest.raises(KeyMissing, match="may not read"):
        writer.private_key()
    os.unlink(tmp_path / "reader.private")
    assert FileKeyring(tmp_path, role=Role.WRITER).ensure().public_key(), "a writer's machine needs no private half"


def break_pair(folder: Path) -> None:
    (folder / "reader.private").write_bytes(b"\x01" * 32)


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (lambda folder: (folder / "reader.private").unlink(), "reader.private is missing"),
        (lambda folder: (folder / "reader.public").unlink(), "reader.public is missing"),
        (lambda folder: (folder / "reader.private").write_bytes(b"short"), "reader.private is damaged (5 bytes"),
        (lambda folder: (folder / "reader.public").write_bytes(b""), "reader.public is damaged (0 bytes"),
        (break_pair, "are not one pair"),
    ],
    ids=["private missing", "public missing", "private short", "public empty", "not a pair"],
)
def test_a_damaged_pair_is_one_line_that_names_the_file_and_is_never_replaced(
    tmp_path: Path, damage: Callable[[Path], None], names: str
) -> None:
    FileKeyring(tmp_path).ensure()
    damage(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyMissing) as told:
        FileKeyring(tmp_path).ensure().checked()
    assert names in str(told.value)
    assert "restore" in str(told.value)
    assert "\n" not in str(told.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KeyMissing, match="--data"):
        FileKeyring(tmp_path / "file" / "keys").ensure()


@pytest.mark.parametrize("value", ["", "not base64!", base64.b64encode(b"short").decode()])
def test_a_variable_that_is_wrong_is_named_and_not_repeated(value: str) -> None:
    keyring = EnvKeyring({EnvKeyring.PUBLIC_NAME: value, EnvKeyring.PRIVATE_NAME: value})
    for ask, name in ((keyring.public_key, EnvKeyring.PUBLIC_NAME), (keyring.private_key, EnvKeyring.PRIVATE_NAME)):
        with pytest.raises(KeyMissing, match=name) as told:
            ask()
        assert not value or value not in str(told.value)
