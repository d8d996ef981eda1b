"""Promise: what LiveKit's library would give away is off: uploads stop the start, telemetry is mute, logs hold only messages."""

import asyncio
import gc
import io
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from triage import privacy
from triage.errors import SettingError, Unavailable

WORDS, NUMBER = "my chest hurts", "+15557654321"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The root logger as the worker has it, and put back afterwards."""
    root, ours = logging.getLogger(), logging.getLogger(privacy.OURS)
    handlers, levels = root.handlers[:], (root.level, ours.level)
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, logging.raiseExceptions
    told = io.StringIO()
    privacy.install(told, ("a-secret-of-ours",))
    yield told
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    sys.excepthook, threading.excepthook, sys.unraisablehook, logging.raiseExceptions = hooks


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


def test_the_words_of_an_exception_are_not_in_the_message_either(stream: io.StringIO) -> None:
    """Libraries write `failed: %s` and f-strings; our own errors say nothing of a caller and stay."""
    try:
        raise KeyError(WORDS)
    except KeyError as error:
        logging.getLogger("livekit").warning("failed: %s", error)
        logging.getLogger("livekit").warning(f"failed: {error}", exc_info=True)
        logging.getLogger("livekit").warning("failed: %(error)s", {"error": error})
    logging.getLogger("triage.worker").warning("not now: %s", Unavailable("store", "disk full"))
    assert WORDS not in stream.getvalue()
    assert stream.getvalue().count("failed: KeyError\n") == 2 and "not now: store: disk full\n" in stream.getvalue()


def test_a_message_that_does_not_fit_its_arguments_leaks_neither(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("livekit").warning("said %d of %s", WORDS)
    assert "said %d of %s" in stream.getvalue()
    assert WORDS not in stream.getvalue() + "".join(capsys.readouterr())


class Broken:
    """Something with words in its repr that breaks when it is called."""

    def __init__(self, *_: object) -> None:
        pass

    def __repr__(self) -> str:
        return f"Broken({WORDS})"

    def __call__(self) -> None:
        raise ValueError(WORDS)


def never_retrieved(loop: asyncio.AbstractEventLoop) -> None:
    async def breaks() -> None:
        Broken()()

    task = loop.create_task(breaks(), name=WORDS)
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    del task


def in_a_callback(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon(Broken())
    loop.run_until_complete(asyncio.sleep(0))


def destroyed(loop: asyncio.AbstractEventLoop) -> None:
    async def waits() -> None:
        await loop.create_future()

    task = loop.create_task(waits(), name=WORDS)
    loop.run_until_complete(asyncio.sleep(0))
    del task


def unheard_of(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_exception_handler({"message": f"{WORDS} broke", "handle": Broken(), "exception": ValueError(WORDS)})


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        (never_retrieved, "asyncio Task exception was never retrieved (ValueError at tests.test_privacy:"),
        (in_a_callback, "asyncio Exception in callback (ValueError at tests.test_privacy:"),
        (destroyed, "asyncio Task was destroyed but it is pending"),
        (unheard_of, "asyncio something went wrong (ValueError)"),
    ],
)
def test_asyncio_complains_without_names_arguments_and_words(
    way: Callable[[asyncio.AbstractEventLoop], None], shown: str, stream: io.StringIO
) -> None:
    loop = asyncio.new_event_loop()
    try:
        way(loop)
        gc.collect()
    finally:
        loop.close()
    assert shown in stream.getvalue() and stream.getvalue().count("\n") == 1
    assert WORDS not in stream.getvalue()


@pytest.mark.parametrize(
    ("ending", "shown"),
    [
        ("raise ValueError(WORDS)", "the program ends (ValueError at __main__:"),
        ("t = threading.Thread(target=broken); t.start(); t.join()", "a thread has ended (ValueError at __main__:"),
        ("Late()", "nobody could catch this (ValueError at __main__:"),
        ("raise SystemExit(0)", ""),
        ("t = threading.Thread(target=sys.exit); t.start(); t.join()", ""),
    ],
    ids=["main", "thread", "unraisable", "exit", "exit of a thread"],
)
@pytest.mark.parametrize("stream", ["sys.stderr", ""], ids=["worker", "process of a call"])
def test_what_nobody_catches_leaves_its_kind_and_place(ending: str, shown: str, stream: str) -> None:
    """In the worker's own process and in one that it starts, whose handler is there before."""
    program = f"""if True:
        import logging, sys, threading
        from triage import privacy
        WORDS = {WORDS!r}
        def broken():
            raise ValueError(WORDS)
        class Late:
            def __del__(self):
                broken()
        if not {stream!r}:
            logging.getLogger().addHandler(logging.StreamHandler())
        privacy.install({stream})
        {ending}
        """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert WORDS not in said and "Traceback" not in said
    assert shown in said and said.count("\n") == bool(shown)


def test_of_a_group_the_first_exception_is_told(stream: io.StringIO) -> None:
    try:
        try:
            raise ValueError(WORDS)
        except ValueError as first:
            raise ExceptionGroup(WORDS, [first]) from None
    except ExceptionGroup:
        logging.getLogger("livekit.agents").exception("the job broke")
    assert "the job broke (ValueError at tests.test_privacy:" in stream.getvalue()
    assert WORDS not in stream.getvalue()


def test_what_asyncio_says_keeps_kind_and_place_on_its_way_through_two_processes(stream: io.StringIO) -> None:
    """A process of the worker's strips its record; the worker, which writes it, strips it again."""
    try:
        raise ValueError(WORDS)
    except ValueError as error:
        given = (ValueError, error, error.__traceback__)
    message = f"Task exception was never retrieved\nfuture: exception=ValueError({WORDS!r})"
    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, message, (), given)
    privacy.Discreet().filter(record)
    logging.getLogger("asyncio").handle(record)
    (line,) = stream.getvalue().splitlines()
    assert re.search(r"asyncio Task exception was never retrieved \(ValueError at tests\.test_privacy:\d+\)$", line)


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
