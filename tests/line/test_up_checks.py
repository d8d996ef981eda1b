"""Promise: `triage up` names a wrong setting before anything starts or is installed, and tells what the operator must know."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.folder import AuditFolder
from triage import cli_line
from triage.cli import Common, app
from triage.config import load
from triage.errors import SettingError, UsageError
from triage.up import engines, programs

PROVIDED = "engines would be started now"


@pytest.fixture(autouse=True)
def no_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    def provide(*_: object) -> None:
        raise UsageError(PROVIDED)

    monkeypatch.setattr(engines, "provide", provide)


def told(folder: Path, *words: str) -> str:
    """The one line with which `triage up` ends here."""
    ran = CliRunner().invoke(app, ["up", "--data", str(folder), *words], obj=Common())
    assert isinstance(ran.exception, UsageError), ran.output
    assert "\n" not in str(ran.exception)
    return str(ran.exception)


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("LINE_NURSE_ADDRESS", "127.0.0.1:65536", "line_nurse_address: its port"),
        ("LINE_NURSE_ADDRESS", "127.0.0.1:0", "line_nurse_address: its port"),
        ("LINE_NURSE_ADDRESS", "10.0.0.1:5090", "line_nurse_address: sip-bench dials loopback alone"),
        ("LINE_NURSE_ADDRESS", "nurses.example:5090", "line_nurse_address: sip-bench dials loopback alone"),
        ("STT", "scripted", "stt_script"),
    ],
)
def test_what_would_stop_a_program_later_is_named_first(
    setting: str, value: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"TRIAGE_{setting}", value)
    words = told(tmp_path)
    assert f"setting {named}" in words and words.count("setting") == 1


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_a_script_that_is_not_there_or_empty_is_named(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.txt"
    if text is not None:
        script.write_text(text)
    monkeypatch.setenv("TRIAGE_STT", "scripted")
    monkeypatch.setenv("TRIAGE_STT_SCRIPT", str(script))
    assert str(script) in told(tmp_path) and "stt_script" in told(tmp_path)


@pytest.mark.parametrize("address", ["127.0.0.1:5090", "127.0.0.2:65535", "localhost:1"])
def test_every_loopback_address_will_do(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_LINE_NURSE_ADDRESS", address)
    assert told(tmp_path) == PROVIDED


def test_livekits_own_service_may_dial_anywhere(tmp_path: Path) -> None:
    env = {"TRIAGE_LINE_NURSE_ADDRESS": "nurses.example:5090", "TRIAGE_LINE_SIP": "livekit-sip"}
    programs.check(load(env=env, data=tmp_path))
    with pytest.raises(SettingError, match="its port"):
        programs.check(load(env={**env, "TRIAGE_LINE_NURSE_ADDRESS": "nurses.example:70000"}, data=tmp_path))


def test_engines_alone_need_no_script_and_make_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_STT", "scripted")
    assert told(tmp_path, "--engines") == PROVIDED
    assert not AuditFolder(tmp_path).keys.exists()


def test_the_first_start_tells_of_its_new_key_and_every_start_of_its_recogniser(tmp_path: Path) -> None:
    settings = load(env={}, data=tmp_path)
    key, listens = cli_line._looked_at(settings)
    assert key.startswith("made a new key") and str(AuditFolder(tmp_path).keys) in key
    assert listens == cli_line.LISTENS["pocketsphinx"]
    assert cli_line._looked_at(settings) == (listens,)


def test_a_scripted_recogniser_is_told_too(tmp_path: Path) -> None:
    (tmp_path / "script.txt").write_text("my chest hurts\n")
    env = {"TRIAGE_STT": "scripted", "TRIAGE_STT_SCRIPT": str(tmp_path / "script.txt")}
    assert "nobody listens" in cli_line._looked_at(load(env=env, data=tmp_path))[-1]
