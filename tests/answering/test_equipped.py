"""Promise: nurses, script and tools of a call are those of the settings, and what is missing is named."""

from pathlib import Path

import pytest

from tests.answering.ringing import NURSES, Make
from triage.answering import desk_of, script_of, tools_of
from triage.config import Settings, load
from triage.errors import SettingError


def test_without_a_directory_the_nurses_are_at_the_lines_address(make: Make) -> None:
    desk = desk_of(make(line_nurse_address="127.0.0.1:5099").ready.settings)
    ladder = desk.ladder(urgent=True, media_during_refer=True)
    assert [(rung.kind.value, desk.uri(rung.target)) for rung in ladder] == [
        ("refer", "sip:nurse@127.0.0.1:5099"),
        ("dial", "sip:nurse@127.0.0.1:5099"),
    ]
    assert desk.ladder(urgent=True, media_during_refer=False)[0].kind.value == "dial"


def test_a_directory_is_read(make: Make, tmp_path: Path) -> None:
    (tmp_path / "nurses.toml").write_text(NURSES)
    desk = desk_of(make(nurse_directory=str(tmp_path / "nurses.toml")).ready.settings)
    assert desk.uri("queue") == "sip:queue@nurses.example"


def test_a_scripted_recogniser_needs_a_script(tmp_path: Path) -> None:
    settings: Settings = load(env={"TRIAGE_STT": "scripted"}, data=tmp_path)
    with pytest.raises(SettingError, match="stt_script"):
        script_of(settings)
    assert script_of(load(env={}, data=tmp_path)) == ()


def test_tools_that_have_no_file_work_in_memory(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tools.db").mkdir()
    tools = tools_of(load(env={}, data=tmp_path))
    assert tools.specs() and "tools:" in log.text
