"""Promise: what is wrong at the terminal is one line that names the thing and the remedy, never a traceback; a call that runs goes on."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audit.folder import AuditFolder
from tests.calls import CHEST, Call, Living, leaves, rules, says, scratch
from tests.terminal import Terminal, Told, terminal
from triage import clips, dialogue
from triage.demo.patient import Cue
from triage.dialogue import protocols
from triage.lines.nurse_phones import Behaviour, NursePhone

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def triage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("triage.engines.load_classifier", rules)  # the real one, read once
    return terminal(monkeypatch, capsys)


@pytest.fixture
def data() -> str:
    return str(scratch() / "data")


def one_line(told: Told, *names: str, remedy: str = "") -> None:
    """The whole promise, for one failure."""
    code, out, err = told
    assert code not in (0, None)
    assert err.startswith("triage: ") and err.count("\n") == 1, err
    assert "Traceback" not in out + err and "unexpected" not in err
    for name in names:
        assert name in err
    assert remedy in err


def demo(triage: Terminal, data: str, *more: str) -> Told:
    return triage("demo", "busy_nurse", "--fast", "--data", data, *more)


# --- sounds


@pytest.mark.parametrize("what", ["missing", "text", "empty file", "no samples", "cut off", "folder"])
def test_a_recording_that_cannot_be_used(what: str, triage: Terminal, data: str, tmp_path: Path) -> None:
    path = tmp_path / "own caller.wav"
    match what:
        case "text":
            path.write_text("no sound at all")
        case "empty file":
            path.write_bytes(b"")
        case "no samples":
            soundfile.write(path, np.zeros(0), 16_000)
        case "cut off":
            soundfile.write(path, np.zeros(16_000), 16_000)
            path.write_bytes(path.read_bytes()[:30])
        case "folder":
            path.mkdir()
    one_line(triage("demo", "--fast", "--data", data, "--wav", str(path)), "own caller.wav")


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the clips that the product reads instead of its own."""
    copy = tmp_path / "audio_assets"
    shutil.copytree(str(resources.files("audio_assets")), copy)
    real = resources.files

    def files(package: str) -> object:
        return copy if package == "audio_assets" else real(package)

    monkeypatch.setattr(resources, "files", files)
    return copy


def clip_file(assets: Path, prompt: str) -> Path:
    for entry in clips.read_manifest(assets):
        if entry["id"] == prompt and entry["language"] == "en" and entry["region"] in ("", "us"):
            return assets / str(entry["file"])
    raise AssertionError("no such clip")


@pytest.mark.parametrize("harm", ["missing", "one byte", "empty", "no wav"])
def test_a_clip_that_is_missing_or_corrupt_stops_the_start(
    harm: str, triage: Terminal, data: str, assets: Path
) -> None:
    path = clip_file(assets, "connecting_nurse")
    match harm:
        case "missing":
            path.unlink()
        case "one byte":
            path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        case "empty":
            path.write_bytes(b"")
        case "no wav":
            path.write_text("words")
    one_line(demo(triage, data), path.name, remedy="clips_render")


@pytest.mark.parametrize("harm", ["missing", "no toml", "a clip left out"])
def test_a_broken_manifest_stops_the_start(harm: str, triage: Terminal, data: str, assets: Path) -> None:
    manifest = assets / "manifest.toml"
    match harm:
        case "missing":
            manifest.unlink()
        case "no toml":
            manifest.write_text("id = ")
        case "a clip left out":
            manifest.write_text(manifest.read_text().replace('"emergency_number"', '"other_number"'))
    one_line(demo(triage, data), "manifest.toml")


# --- scenario, protocol, settings


@pytest.mark.parametrize("name", ["chestpain", "", "../chest_pain", "chest_pain.toml"])
def test_an_unknown_scenario(name: str, triage: Terminal, data: str) -> None:
    one_line(triage("demo", name, "--fast", "--data", data), "scenario", remedy="--list")


@pytest.mark.parametrize("harm", ["no toml", "unknown field", "empty"])
def test_a_broken_protocol_file(
    harm: str, triage: Terminal, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "dialogue"
    shutil.copytree(str(resources.files(dialogue)), copy)
    path = next((copy / "protocols").glob("chest*.toml"))
    match harm:
        case "no toml":
            path.write_text("title = [")
        case "unknown field":
            path.write_text(path.read_text() + "\n[surprise]\nx = 1\n")
        case "empty":
            path.write_text("")
    real = resources.files
    monkeypatch.setattr(
        resources,
        "files",
        lambda package: copy if str(package).startswith("triage.dialogue") else real(package),
    )
    protocols.load_protocols.cache_clear()
    one_line(demo(triage, data), path.name)
    protocols.load_protocols.cache_clear()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("TRIAGE_TURN_CUT_S", "99999"),
        ("TRIAGE_REGION", "mars"),
        ("TRIAGE_VAD_PAUSE_THRESHOLD", "much"),
        ("TRIAGE_VAD_PAUSE_THRESHOLD", "0.9"),
        ("TRIAGE_EMERGENCY_NUMBER", "912"),
        ("TRIAGE_REGON", "us"),
        ("TRIAGE_PROFILE", "staging"),
    ],
)
def test_a_bad_setting(setting: str, value: str, triage: Terminal, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, value)
    code, out, err = demo(triage, data)
    one_line((code, out, err))
    named = {"TRIAGE_PROFILE": "keep_audio", "TRIAGE_EMERGENCY_NUMBER": "emergency_number"}  # what stands in the way
    assert named.get(setting, setting) in err


@pytest.mark.parametrize("text", ["region = ", "region = 7", "colour = 'red'", "\xff"])
def test_a_bad_settings_file(text: str, triage: Terminal, data: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_bytes(text.encode("latin-1"))
    names = "region" if text == "region = 7" else "own.toml"
    one_line(triage("--config", "own.toml", "demo", "--fast", "--data", data), names)


# --- the data folder


def test_a_data_folder_that_cannot_be_made_or_is_a_file(triage: Terminal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one_line(demo(triage, str(tmp_path / "file")), "file", remedy="--data")
    one_line(demo(triage, str(tmp_path / "file" / "below")), "below", remedy="--data")


@pytest.fixture
def nobody() -> Iterator[Callable[[Path], None]]:
    """Lock a folder, its files and ourselves out of it; root becomes somebody else for as long as it takes."""
    us = os.geteuid()

    def lock(folder: Path) -> None:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        if us == 0:
            for above in folder.parents:
                if above.stat().st_uid == us and not above.stat().st_mode & 0o001:
                    above.chmod(above.stat().st_mode | 0o011)
            os.seteuid(65_534)

    yield lock
    if us == 0:
        os.seteuid(us)


@pytest.mark.parametrize("within", ["", "data"])
def test_a_read_only_data_folder(
    within: str, triage: Terminal, nobody: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scratch()
    monkeypatch.chdir("/")
    nobody(folder)
    one_line(demo(triage, str(folder / within)), str(folder), remedy="--data")


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("at", ["mkdir", "open"])
def test_a_disk_that_refuses(code: int, at: str, triage: Terminal, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, for whoever runs as root: the system's answers, at the calls where they come."""
    real_open, real_mkdir = os.open, os.mkdir

    def refuse(path: object) -> None:
        if str(path).startswith(data):
            raise OSError(code, os.strerror(code), str(path))

    def opens(path: Any, *more: Any, **named: Any) -> int:
        if at == "open":
            refuse(path)
        return real_open(path, *more, **named)

    def makes(path: Any, *more: Any, **named: Any) -> None:
        if at == "mkdir":
            refuse(path)
        real_mkdir(path, *more, **named)

    monkeypatch.setattr(os, "open", opens)
    monkeypatch.setattr(os, "mkdir", makes)
    one_line(demo(triage, data), data, remedy="--data")


@pytest.mark.parametrize("harm", ["no database", "a folder", "other tables"])
def test_a_store_that_is_none(harm: str, triage: Terminal, data: str) -> None:
    database = AuditFolder(Path(data)).database
    database.parent.mkdir(parents=True)
    match harm:
        case "no database":
            database.write_text("this is no database" * 100)
        case "a folder":
            database.mkdir()
        case "other tables":
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    f"import sqlite3; c = sqlite3.connect({str(database)!r}); c.execute('create table record (x)'); c.commit()",
                ],
                check=True,
            )
    one_line(demo(triage, data), "audit.db")


@pytest.fixture(scope="module")
def used() -> Path:
    """A data folder in which a call is on record."""
    return Call(script=[says(CHEST, Cue.AT, 1.0), leaves(6)]).ring().settled()


@pytest.mark.parametrize("file", ["reader.public", "reader.private"])
@pytest.mark.parametrize("harm", ["short", "empty", "another"])
def test_a_wrong_key(file: str, harm: str, triage: Terminal, data: str, used: Path) -> None:
    shutil.copytree(used, data)
    path = Path(data) / "keys" / file
    path.write_bytes({"short": b"short", "empty": b"", "another": os.urandom(32)}[harm])
    one_line(demo(triage, data), "reader.")
    one_line(triage("--data", data, "audit", "verify", "--all"), "reader.")


def test_a_call_that_is_not_there(triage: Terminal, data: str, used: Path) -> None:
    shutil.copytree(used, data)
    for command in (("audit", "show"), ("audit", "verify"), ("replay",)):
        one_line(triage("--data", data, *command, "0000"), "0000")


def test_the_whole_program_shows_no_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "TRIAGE_REGION": "mars"}
    done = subprocess.run(
        [sys.executable, "-m", "triage", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "TRIAGE_REGION" in done.stderr


# --- a call that runs


def test_a_call_outlives_a_folder_that_turns_read_only(nobody: Callable[[Path], None]) -> None:
    folder = scratch()

    async def story(living: Living) -> None:
        await living.until(0.5)
        nobody(folder)
        await living.until(20)
        living.patient.hung_up = True

    call = Call(script=[says(CHEST, Cue.AT, 1.0)], folder=folder).ring(story)
    assert call.finished.outcome == "nurse_bridged" and call.starts("connecting_nurse", whole=False)


def test_a_call_outlives_a_data_folder_that_is_taken_away() -> None:
    folder = scratch()
    silent = {"nurse": NursePhone(Behaviour.SILENT)}

    async def story(living: Living) -> None:
        await living.until(0.5)
        shutil.rmtree(folder)
        await living.until(19)
        living.patient.hung_up = True

    call = Call(script=[says(CHEST, Cue.AT, 1.0)], folder=folder, phones=silent).ring(story)
    assert call.starts("connecting_nurse", whole=False) and call.starts("emergency_number", whole=False)
    assert call.finished.outcome == "hung_up"
