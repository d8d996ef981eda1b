"""Promise: every scenario runs from ring to report, ends as it says, leaves its files, and decides the same again."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audit.access import AccessLog
from audit.folder import AuditFolder
from audit.store import SqliteStore
from triage.cli_audit import login
from triage.config import Settings, load
from triage.demo import cast, run
from triage.demo import scenario as sc
from triage.demo.again import hear_again, step_again
from triage.demo.run import DemoOrder, run_demo
from triage.errors import AssetError, SettingError, StorageError, UsageError
from triage.lines.simulated import SimulatedLine

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

Ran = tuple[int, str]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(env={}, data=tmp_path / "data")


@pytest.fixture
def demo(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run one call in virtual time: what was asked for in, (exit code, everything printed) out."""

    def ran(scenario: str = "asks_person", **order: Any) -> Ran:
        code = run_demo(DemoOrder(scenario=scenario, fast=True, **order), settings)
        return code, capsys.readouterr().out

    return ran


def only_call(settings: Settings) -> Path:
    (folder,) = (settings.data_dir / "calls").iterdir()
    return folder


@pytest.mark.engine
@pytest.mark.parametrize("name", sc.names())
def test_a_scenario_ends_as_it_says(
    name: str, demo: Callable[..., Ran], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = demo(name)
    assert code == 0, out
    assert "NOT" not in out
    folder = only_call(settings)
    audio, rate = soundfile.read(folder / "call.wav")
    assert (audio.shape[1], rate) == (2, 16_000)
    assert np.abs(audio).max(axis=0).min() > 0.05, "both sides are heard"
    assert (folder / "summary.md").stat().st_size > 100
    assert str(folder / "summary.md") in out and "chain closed" in out
    assert str(folder / "call.wav") in out and str(settings.data_dir / "audit.db") in out
    assert step_again(folder.name, settings, wait=False) == 0
    assert "all made alike" in capsys.readouterr().out


def test_the_packet_is_shown_before_a_nurse_answers(demo: Callable[..., Ran]) -> None:
    _, out = demo("busy_nurse")
    assert 0 < out.index("nurse packet 1") < out.index("answered")
    assert "note      nurse nurse_desk_1:" in out


def test_the_screen_says_which_recogniser_hears(demo: Callable[..., Ran]) -> None:
    _, scripted = demo("silent")
    _, real = demo("asks_person")
    assert "nothing is recognised" in scripted and "(recogniser: scripted)" in scripted
    assert "useless" in real and "(recogniser: pocketsphinx)" in real


def test_a_setting_makes_every_scenario_scripted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(env={"TRIAGE_STT": "scripted", "TRIAGE_TTS": "clips"}, data=tmp_path)
    assert run_demo(DemoOrder(scenario="asks_person", fast=True), settings) == 0
    assert "(recogniser: scripted)" in capsys.readouterr().out


@pytest.mark.engine
def test_one_may_be_the_caller(demo: Callable[..., Ran], settings: Settings) -> None:
    code, out = demo(say=("I want to talk to a real person.",))
    assert code == 0, out
    assert "connecting you to a nurse" in out


@pytest.mark.engine
@pytest.mark.parametrize(("rate", "channels", "subtype"), [(44_100, 2, "PCM_24"), (8_000, 1, "PCM_U8")])
def test_a_caller_from_a_file_of_any_kind(
    rate: int, channels: int, subtype: str, demo: Callable[..., Ran], tmp_path: Path
) -> None:
    spoken = cast.CallerLines().get("asks_person").pcm
    at = np.arange(0, len(spoken) / 16_000, 1 / rate)
    sound = np.interp(at, np.arange(len(spoken)) / 16_000, spoken / 32768)
    soundfile.write(tmp_path / "own.wav", np.column_stack([sound] * channels), rate, subtype=subtype)
    code, out = demo(wav=(tmp_path / "own.wav",))
    assert code == 0, out
    assert "caller  " in out


# --- bad input


def test_an_unreadable_recording_is_one_line(demo: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    for name in ("absent.wav", "text.wav", "empty.wav"):
        with pytest.raises(AssetError, match=re.escape(name)) as refused:
            demo(wav=(tmp_path / name,))
        assert "\n" not in str(refused.value)


def test_the_demo_is_refused_in_another_profile(settings: Settings) -> None:
    with pytest.raises(SettingError, match="setting profile"):
        run_demo(DemoOrder(), settings.model_copy(update={"profile": "production"}))


def test_a_recording_needs_a_recogniser(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--wav needs"):
        run_demo(DemoOrder(wav=(tmp_path / "x.wav",)), load(env={"TRIAGE_STT": "scripted"}, data=tmp_path))


def test_a_recording_that_cannot_be_written_costs_the_recording_alone(
    demo: Callable[..., Ran], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SimulatedLine, "write", full)
    code, out = demo("busy_nurse")
    assert code == 1
    assert "recording is not kept" in out and "No space left" in out
    assert "chain closed" in out and (only_call(settings) / "summary.md").exists()


def test_a_replay_is_a_reading_by_the_login_whatever_the_environment_says(
    demo: Callable[..., Ran], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo("asks_person")
    for name in ("LOGNAME", "USER", "USERNAME"):
        monkeypatch.setenv(name, "mallory")
    assert step_again(only_call(settings).name, settings, wait=False) == 0
    with closing(SqliteStore(settings.data_dir / "audit.db")) as store:
        (reading,) = [reading for reading in AccessLog(store).readings() if reading.what == "replay"]
    assert reading.who == login() and "mallory" not in reading.who


def test_a_summary_lies_in_the_clear_in_the_demo_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Settings(data_dir=tmp_path, profile="bench", stt="scripted", keep_audio=False)
    assert run_demo(DemoOrder(scenario="asks_person", fast=True), bench) == 0
    assert "chain closed" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.md")) and not (tmp_path / "calls").exists()


def test_audio_is_kept_only_when_the_setting_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load(env={"TRIAGE_KEEP_AUDIO": "false"}, data=tmp_path)
    assert run_demo(DemoOrder(scenario="busy_nurse", fast=True), settings) == 0
    assert not list(tmp_path.rglob("*.wav"))
    assert "call.wav" not in capsys.readouterr().out


def test_numbers_that_the_clips_do_not_say_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="emergency_number"):
        run_demo(DemoOrder(fast=True), load(env={"TRIAGE_EMERGENCY_NUMBER": "912"}, data=tmp_path))


def test_a_damaged_key_is_one_line(demo: Callable[..., Ran], settings: Settings) -> None:
    assert demo("busy_nurse")[0] == 0
    (settings.data_dir / "keys" / "reader.public").write_bytes(b"short")
    with pytest.raises(StorageError, match=r"reader\.public"):
        demo("busy_nurse")


def test_a_wrong_private_key_does_not_verify(demo: Callable[..., Ran], settings: Settings) -> None:
    assert demo("busy_nurse")[0] == 0
    keys = settings.data_dir / "keys"
    (keys / "reader.private").write_bytes(os.urandom(32))
    with pytest.raises(Exception, match="one pair"):
        step_again(only_call(settings).name, settings, wait=False)


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        run_demo(DemoOrder(fast=True), load(env={}, data=tmp_path / "file"))


# --- afterwards


def test_one_altered_byte_is_found(
    demo: Callable[..., Ran], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verification that the demo prints is a real one."""
    real = run._told

    def tampered(*arguments: Any, **named: Any) -> int:
        with closing(SqliteStore(AuditFolder(settings.data_dir).database)) as store, store.connection() as connection:
            connection.execute("UPDATE record SET sealed = zeroblob(length(sealed)) WHERE sequence = 5")
            connection.commit()
        return real(*arguments, **named)

    monkeypatch.setattr(run, "_told", tampered)
    code, out = demo("busy_nurse")
    assert code == 1 and "NOT VERIFIED" in out


def test_hearing_a_call_that_is_not_there_is_one_line(settings: Settings) -> None:
    with pytest.raises(UsageError, match="no recording"):
        hear_again("0000", settings)
    with pytest.raises(UsageError, match="no recording"):
        hear_again("../..", settings)
    with pytest.raises(UsageError, match="no record in"):
        step_again("0000", settings, wait=False)


def test_playing_without_a_player_is_one_line(
    demo: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    code, out = demo("busy_nurse", play=True)
    assert code == 0 and "nothing here plays sound" in out
    assert hear_again(only_call(settings).name, settings) == 1


def test_ctrl_c_seals_the_record_and_names_the_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "triage", "demo", "silent", "--realtime", "--data", str(tmp_path)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as call:
        assert call.stdout is not None
        for line in call.stdout:
            if "call connected" in line:
                break
        call.send_signal(signal.SIGINT)
        rest, err = call.communicate(timeout=20)
    assert call.returncode == 130, err
    assert "hung_up" in rest and "verified" in rest and "call.wav" in rest
    assert "Traceback" not in err
