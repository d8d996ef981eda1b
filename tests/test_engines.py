"""Promise: what every call stands on is loaded and checked before anybody rings; what is wrong is named with its remedy."""

from pathlib import Path

import pytest

from audit.folder import AuditFolder
from tests.calls import rules, scratch
from triage import engines
from triage.config import Settings, load
from triage.errors import AssetError, SettingError, StorageError

NURSES = 'schema = 1\n[[target]]\nname = "queue"\nkind = "refer"\nuri = "sip:queue@nurses.example"\n'


@pytest.fixture(autouse=True)
def one_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triage.engines.load_classifier", rules)


def settings(folder: Path, **more: str) -> Settings:
    return load(env={f"TRIAGE_{name.upper()}": value for name, value in more.items()}, data=folder)


def test_a_first_run_makes_keys_and_says_so_once() -> None:
    folder = scratch() / "data"
    first = engines.load(settings(folder), writer="one", inline=True)
    assert "keys/reader.private" in first.warning
    second = engines.load(settings(folder), writer="two", inline=True)
    assert second.warning == "" and second.folder.root == folder
    for loaded in (first, second):
        loaded.engines.writer.close()


def test_a_voice_is_loaded_only_where_one_is_wanted() -> None:
    folder = scratch()
    with_voice = engines.load(settings(folder), writer="one", inline=True)
    without = engines.load(settings(folder, tts="clips"), writer="two", inline=True)
    assert with_voice.engines.voice is not None and without.engines.voice is None
    for loaded in (with_voice, without):
        loaded.engines.writer.close()


@pytest.mark.parametrize("profile", ["staging", "production"])
def test_in_earnest_nobody_makes_keys(tmp_path: Path, profile: str) -> None:
    (tmp_path / "nurses.toml").write_text(NURSES)
    given = settings(
        tmp_path / "data",
        profile=profile,
        keep_audio="false",
        line_sip="livekit-sip",
        line_packet_filter="true",
        nurse_directory=str(tmp_path / "nurses.toml"),
    )
    with pytest.raises(StorageError, match="key"):
        engines.keys(given)
    assert not (tmp_path / "data" / "keys").exists()


def test_clips_that_say_another_number_are_refused() -> None:
    with pytest.raises(SettingError, match="emergency_number"):
        engines.load(settings(scratch(), emergency_number="555"), writer="one", inline=True)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file.*--data"):
        engines.load(settings(tmp_path / "file"), writer="one", inline=True)


def test_a_store_that_is_broken_stops_the_demo_but_not_a_worker(tmp_path: Path) -> None:
    AuditFolder(tmp_path).database.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError):
        engines.load(settings(tmp_path), writer="one", inline=True)
    carried = engines.load(settings(tmp_path), writer="two", deferred=True)
    carried.engines.writer.close()


def test_a_broken_classifier_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        from classifiers.rulebook import RuleFileError

        raise RuleFileError("flags.toml: row 3")

    monkeypatch.setattr("triage.engines.load_classifier", broken)
    with pytest.raises(AssetError, match=r"row 3; mend that file"):
        engines.load(settings(scratch()), writer="one", inline=True)
