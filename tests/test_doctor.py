"""Promise: the doctor finds what is missing, names the remedy, changes nothing, and never raises."""

import ctypes
import importlib.util
import shutil
from pathlib import Path

import pytest

from triage import doctor
from triage.clips import ClipLibrary
from triage.config import Settings, load
from triage.doctor import Finding, Verdict
from triage.engines import keys
from triage.errors import AssetError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(env={}, data=tmp_path / "data")


def about(subject: str, settings: Settings) -> list[Finding]:
    return [finding for finding in doctor.examine(settings) if finding.subject == subject]


def test_this_machine_can_run_the_demo(settings: Settings) -> None:
    findings = doctor.examine(settings)
    assert doctor.demo_can_run(findings), [f for f in findings if f.verdict is Verdict.MISSING]
    assert all("\n" not in finding.words for finding in findings)
    assert not settings.data_dir.exists()


def test_a_missing_package_is_named_with_its_use(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pocketsphinx" else real(name))
    (found,) = about("pocketsphinx", settings)
    assert found.verdict is Verdict.MISSING and "local recogniser" in found.words
    assert not doctor.demo_can_run([found])


def test_a_missing_voice_is_no_obstacle_and_names_the_package(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_: str) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", absent)
    (found,) = about("local voice", settings)
    assert found.verdict is Verdict.NOTE and "libflite1" in found.words


def test_a_broken_clip_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AssetError("clip greeting is not the one that was rendered; render it again")

    monkeypatch.setattr(ClipLibrary, "load", broken)
    (found,) = about("clips", settings)
    assert found.verdict is Verdict.MISSING and "greeting" in found.words


def test_other_numbers_than_the_clips_say_are_found(tmp_path: Path) -> None:
    (found,) = about("clips", load(env={"TRIAGE_CRISIS_NUMBER": "989"}, data=tmp_path))
    assert found.verdict is Verdict.MISSING and "crisis_number" in found.words


def test_a_full_disk_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**20})())
    (found,) = about("data folder", settings)
    assert found.verdict is Verdict.MISSING and "1 MB left" in found.words


def test_what_others_may_look_at_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    settings = load(env={}, data=tmp_path)
    assert about("rights", settings) == []
    (tmp_path / "audit.db").write_bytes(b"")
    for path, mode in ((tmp_path, 0o755), (tmp_path / "audit.db", 0o644)):
        path.chmod(mode)
    (found,) = about("rights", settings)
    assert found.verdict is Verdict.NOTE and "audit.db" in found.words and "chmod" in found.words
    assert (tmp_path / "audit.db").stat().st_mode & 0o777 == 0o644
    keys(settings)
    (found,) = about("rights", settings)
    assert found.verdict is Verdict.GOOD and tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_broken_nurse_directory_is_found(tmp_path: Path) -> None:
    file = tmp_path / "nurses.toml"
    file.write_text("schema = 2\n")
    (found,) = about("nurse directory", load(env={"TRIAGE_NURSE_DIRECTORY": str(file)}, data=tmp_path))
    assert found.verdict is Verdict.MISSING and "schema" in found.words


def test_every_demo_only_stage_stops_a_production_start(settings: Settings) -> None:
    obstacles = doctor.production_obstacles(settings)
    for stage in doctor.stages(settings, telephone=True):
        named = any(obstacle.startswith(f"{stage.port}:") for obstacle in obstacles)
        assert named is not stage.production
    assert any("nurse_directory" in obstacle for obstacle in obstacles)
    assert any("keep_audio" in obstacle for obstacle in obstacles)
    assert any(obstacle.startswith("checkpoints: this version makes none") for obstacle in obstacles)


def test_in_production_the_line_is_livekits_and_only_the_bench_stands_in_its_way(tmp_path: Path) -> None:
    """The worker starts, or refuses to, by these obstacles: what it says must be true of its own line."""
    bench, livekit = (load(env={"TRIAGE_LINE_SIP": sip}, data=tmp_path) for sip in ("sip-bench", "livekit-sip"))
    assert doctor.production_obstacles(bench)[0] == (
        "line: LiveKit with sip-bench is for development and drills (setting line_sip: livekit-sip)"
    )
    refused = doctor.production_obstacles(livekit)
    assert refused[0].startswith("speech to text: pocketsphinx")
    assert not any("line:" in obstacle or "simulated" in obstacle for obstacle in refused)
    assert doctor.stages(livekit)[0].engine == "simulated", "of the demo, as before"


def test_what_is_set_is_no_obstacle(tmp_path: Path) -> None:
    settings = load(env={"TRIAGE_KEEP_AUDIO": "false", "TRIAGE_NURSE_DIRECTORY": "nurses.toml"}, data=tmp_path)
    assert not any(obstacle.startswith("setting") for obstacle in doctor.production_obstacles(settings))


def test_the_local_recogniser_is_never_fit_for_production(settings: Settings) -> None:
    (stage,) = [stage for stage in doctor.stages(settings) if stage.port == "speech to text"]
    assert stage.local and not stage.production and "demos and tests only" in stage.remark
