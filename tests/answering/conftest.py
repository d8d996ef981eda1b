"""What a worker's process has loaded, and its log."""

import logging

import pytest

from audit.folder import AuditFolder
from tests.answering.ringing import NURSES, Make, World
from tests.calls import rules, scratch
from triage import answering, engines
from triage.answering import Ready, desk_of, rooms_of, tools_of
from triage.config import load
from triage.stages.silero import SileroVoiceActivity
from triage.watch import Watch


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr("triage.engines.load_classifier", rules)

    def made(**given: str) -> World:
        folder = scratch()
        (folder / "script.txt").write_text("I have a headache\n")
        (folder / "nurses.toml").write_text(NURSES)
        env = {"stt": "scripted", "stt_script": str(folder / "script.txt"), "tts": "clips", "profile": "bench", **given}
        if env["profile"] in answering.IN_EARNEST:
            env |= {"keep_audio": "false", "line_sip": "livekit-sip", "nurse_directory": str(folder / "nurses.toml")}
            env["line_packet_filter"] = "true"
        settings = load(env={f"TRIAGE_{name.upper()}": value for name, value in env.items()}, data=folder)
        AuditFolder(folder).keyring().ensure()
        loaded = engines.load(settings, writer="test", inline=True)
        ready = Ready(
            settings=settings,
            engines=loaded.engines,
            folder=loaded.folder,
            rooms=rooms_of(settings),
            desk=desk_of(settings),
            vad=SileroVoiceActivity.load(),
            tools=tools_of(settings),
            watch=Watch(),
        )
        return World(ready, folder)

    return made


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="triage")
    return caplog
