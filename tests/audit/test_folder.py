"""Promise: what lies in a data folder is its owner's alone, also what was made before we saw to that; and only what is ours."""

from pathlib import Path

import pytest

from audit.folder import AuditFolder
from tests.audit.stores import Setup


@pytest.fixture
def old(tmp_path: Path) -> AuditFolder:
    """A folder as an older version may have left it: readable by everybody."""
    setup = Setup(tmp_path / "data", inline=True)
    setup.writer.close()
    root = setup.folder.root
    for place in ("calls/c", "packets"):
        (root / place).mkdir(parents=True)
    (root / "calls" / "c" / "call.wav").write_bytes(b"RIFF")
    (root / "packets" / "x.packet").write_bytes(b"{}")
    (root / "spool" / "dead.journal").write_bytes(b"")
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return setup.folder


def test_everything_is_made_its_owners_alone(old: AuditFolder) -> None:
    told = {path.relative_to(old.root).as_posix() for path in old.exposed()}
    assert told >= {".", "audit.db", "keys", "keys/reader.private", "spool", "spool/dead.journal", "calls", "packets"}
    assert "keys/reader.public" not in told, "public"
    assert set(old.tighten()) == {old.root / name for name in told}
    assert old.exposed() == [] and old.tighten() == []
    for path in (old.root, *old.root.rglob("*")):
        if path.name != "reader.public":
            assert path.stat().st_mode & 0o077 == 0, path
    assert old.keyring().checked().private_key()


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "somebodys.txt").write_text("theirs")
    for path in (tmp_path, tmp_path / "somebodys.txt"):
        path.chmod(0o755)
    assert AuditFolder(tmp_path).tighten() == []
    assert AuditFolder(tmp_path / "absent").tighten() == []
    (tmp_path / "audit.db").write_bytes(b"")
    (tmp_path / "audit.db").chmod(0o644)
    tmp_path.chmod(0o1777)  # a place that everybody may write to, as /tmp: ours in it is closed, the place stays
    assert AuditFolder(tmp_path).tighten() == [tmp_path / "audit.db"]
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "somebodys.txt").stat().st_mode & 0o777 == 0o755


def test_a_link_is_not_followed(old: AuditFolder, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.txt"
    theirs.write_text("x")
    theirs.chmod(0o644)
    (old.root / "calls" / "link").symlink_to(theirs)
    old.tighten()
    assert theirs.stat().st_mode & 0o777 == 0o644


def test_a_data_folder_behind_a_link_is_closed_once(old: AuditFolder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(old.root)
    assert AuditFolder(tmp_path / "link").tighten() and AuditFolder(tmp_path / "link").exposed() == []
