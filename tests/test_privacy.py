"""Promise: what LiveKit's library would give away is off: uploads stop the start, telemetry is mute, logs hold only messages."""

import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from triage import privacy
from triage.errors import SettingError

WORDS, NUMBER = "my chest hurts", "+15557654321"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The root logger as the worker has it, and put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger(privacy.OURS)
    handlers, levels = root.handlers[:], (root.level, ours.level)
    told = io.StringIO()
    privacy.install(told, ("a-secret-of-ours",))
    yield told
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.parametrize("name", privacy.REFUSED)
def test_a_variable_that_uploads_calls_stops_the_start(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        privacy.pinned({"PATH": "/bin", name: "https://elsewhere.example"})


@pytest.mark.parametrize(
    "name",
    [
        "LIVEKIT_DEV_MODE",
        "LIVEKIT_INFERENCE_URL",
        "LIVEKIT_AGENT_NAME_OVERRIDE",
        "LIVEKIT_WORKER_TOKEN",
        "LIVEKIT_URL",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_TRACES_EXPORTER",
        "PROMETHEUS_MULTIPROC_DIR",
        "LK_DUMP_DIR",
        "RUST_LOG",
    ],
)
def test_variables_behind_our_settings_are_dropped(name: str) -> None:
    assert privacy.pinned({"PATH": "/bin", "TRIAGE_STT": "scripted", name: "1"}) == {
        "PATH": "/bin",
        "TRIAGE_STT": "scripted",
        **privacy.SAID,
    }


def test_what_must_be_said_by_variable_is_said_over_what_stood_there() -> None:
    env = privacy.pinned({"LIVEKIT_TELEMETRY_ALLOW_PII": "1", "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "1"})
    assert env["LIVEKIT_TELEMETRY_ALLOW_PII"] == "0"
    assert env["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] == "0"


def test_extra_fields_never_reach_the_log(stream: io.StringIO) -> None:
    extra = {"lk.pii.transcript": WORDS, "user_transcript": WORDS, "metadata": WORDS, "room": "sip_" + NUMBER}
    logging.getLogger("livekit.agents").warning("skipping user input", extra=extra)
    assert stream.getvalue().endswith("WARNING livekit.agents skipping user input\n")
    assert WORDS not in stream.getvalue()


def test_extra_fields_are_gone_before_another_handler_could_pickle_them() -> None:
    record = logging.LogRecord("livekit", logging.WARNING, "", 0, "said %s", ("it",), None)
    record.__dict__["lk.pii.transcript"] = WORDS
    assert privacy.Discreet().filter(record)
    assert WORDS not in repr(record.__dict__) and record.getMessage() == "said it"


def test_an_exception_leaves_its_kind_and_place_not_its_words(stream: io.StringIO) -> None:
    try:
        raise ValueError(WORDS)
    except ValueError:
        logging.getLogger("livekit.agents").exception("job_request_fnc failed")
    (line,) = stream.getvalue().splitlines()
    assert "job_request_fnc failed (ValueError at tests.test_privacy:" in line
    assert WORDS not in line and "Traceback" not in line


def test_numbers_secrets_and_line_ends_go(stream: io.StringIO) -> None:
    logging.getLogger("triage.worker").info("a call of %s\nwith a-secret-of-ours", NUMBER)
    assert NUMBER not in stream.getvalue() and "a-secret-of-ours" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("logger", "level", "shown"),
    [
        ("triage.worker", logging.INFO, True),
        ("triage.worker", logging.DEBUG, False),
        ("livekit.agents", logging.INFO, False),
        ("livekit.agents", logging.WARNING, True),
        ("transitions.core", logging.INFO, False),
        ("aiohttp.access", logging.INFO, False),
    ],
)
def test_ours_speak_from_info_on_others_from_warning(stream: io.StringIO, logger: str, level: int, shown: bool) -> None:
    logging.getLogger(logger).log(level, "something")
    assert bool(stream.getvalue()) is shown


def test_handlers_that_are_there_are_kept_where_no_stream_is_given() -> None:
    """A process of the worker's: its one handler leads to the worker."""
    program = (
        "import logging, io; from triage import privacy; told = io.StringIO();"
        "logging.getLogger().addHandler(logging.StreamHandler(told)); privacy.install();"
        f"logging.getLogger('livekit').error('it broke', extra={{'pii': '{WORDS}'}});"
        "print(told.getvalue(), end='')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "it broke\n"
