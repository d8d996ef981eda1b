"""What LiveKit's worker library would give away if it were left alone, turned off: telemetry, uploads, talkative logs.

Two halves, each without the library itself, so that they can be read and tested alone:

- the environment of the worker and of every process it starts (`pinned`): variables that send a caller's words elsewhere
  stop the start, the rest of the library's own are dropped, and what must be said by variable is said;
- the log (`install`): one line each, from INFO on, our own wording or the library's message, never its extra fields (they
  hold transcripts, metadata, identities), never an exception's text, and through the scrubber at the end. What nobody
  catches, in the main thread, another one or a destructor, goes the same way instead of to stderr as a traceback.
"""

import logging
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TextIO

from audit.errors import AuditError
from triage.errors import SettingError, TriageError
from triage.up.scrubber import Scrubber

REFUSED = ("LIVEKIT_OBSERVABILITY_URL",)
"""Variables under which recordings, transcripts and logs are uploaded: nothing starts with one of them."""
DROPPED = ("LIVEKIT_", "LK_", "OTEL_", "PROMETHEUS_", "RUST_LOG")
"""Beginnings of variables that the library, or what it stands on, reads behind our settings."""
SAID: Mapping[str, str] = {
    "LIVEKIT_TELEMETRY_ALLOW_PII": "0",
    "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0",
    "LK_DUMP_STACK_TRACES": "0",
}
"""Variables that are set: spans without content; none of the library's own models; no dump of a process's variables."""
OURS = "triage"
"""Loggers of ours, from INFO on. Of others only warnings: their INFO names rooms, identities, jobs and states."""

ASYNCIO = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Task was destroyed but it is pending",
    "Exception in callback",
    "Exception in default exception handler",
    "Executing",
    "Fatal error on transport",
    "Fatal read error on socket transport",
    "Fatal write error on socket transport",
    "socket.accept() out of system resource",
    "socket.send() raised exception",
    "unhandled exception during asyncio.run() shutdown",
    "an error occurred during closing of asynchronous generator",
)
"""What asyncio's messages begin with, as far as they may be shown: names of tasks, arguments and exceptions follow."""
UNKNOWN = "something went wrong"
"""What stands for any other of its messages."""
_TOLD = re.compile(rf"(?:{'|'.join(map(re.escape, (*ASYNCIO, UNKNOWN)))}) \(\w+(?: at [\w.?]+:\d+)?\)")
SHORTEST = 4
"""An exception's text is looked for in messages from this length, characters."""

log = logging.getLogger("triage.privacy")

LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
_PLAIN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}
"""What a record holds before anybody adds to it."""


def pinned(env: Mapping[str, str]) -> dict[str, str]:
    """The environment in which the worker and its processes run.

    Raises:
        SettingError: a variable asks for an upload.
    """
    for name in REFUSED:
        if env.get(name):
            raise SettingError(f"{name} is set: callers' voices and words would be uploaded; unset it")
    return {**{name: value for name, value in env.items() if not name.startswith(DROPPED)}, **SAID}


class Discreet(logging.Filter):
    """Takes from a record what is not its message: extra fields, the exception's text, the stack."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Strip the record in place; it is always kept."""
        record.msg, record.args = f"{_message(record)}{_where(record)}", ()
        record.exc_info = record.exc_text = record.stack_info = None
        for name in record.__dict__.keys() - _PLAIN:
            del record.__dict__[name]
        return True


class OneLine(logging.Formatter):
    """A record as one line without numbers, names and secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__(LINE)
        self._scrubber = Scrubber(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return self._scrubber.clean(" ".join(super().format(record).split()))


def install(stream: TextIO | None = None, secrets: Iterable[str] = ()) -> None:
    """Make the root logger speak our way: to `stream` where one is given, else through the handlers that it has.

    Called once in the worker, and once in each process it starts, whose handler is the library's way to the worker.
    """
    root = logging.getLogger()
    if stream is not None:
        for handler in tuple(root.handlers):
            root.removeHandler(handler)
        root.addHandler(logging.StreamHandler(stream))
    be_discreet()
    for handler in root.handlers:
        handler.setFormatter(OneLine(secrets) if stream is not None else logging.Formatter("%(message)s"))
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(logging.INFO)


def be_discreet() -> None:
    """No exception's text through any handler that the root logger has now; what nobody catches is told to it as well."""
    logging.raiseExceptions = False  # a record that cannot be written would be printed with its arguments
    sys.excepthook, threading.excepthook, sys.unraisablehook = _uncaught, _uncaught_in_thread, _unraisable
    for handler in logging.getLogger().handlers:
        handler.addFilter(Discreet())


def place_of(error: BaseException) -> str:
    """Kind and place of an exception (of a group: of its first), for a log; its text may hold a caller's words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}" if trace is not None else ""
    return f"{type(error).__name__}{place}"


def _where(record: logging.LogRecord) -> str:
    if not isinstance(record.exc_info, tuple) or record.exc_info[1] is None:
        return ""
    return f" ({place_of(record.exc_info[1])})"


def _message(record: logging.LogRecord) -> str:
    """The record's message without the text of any exception that is not of ours."""
    if record.name == "asyncio":
        said = str(record.msg)
        told = _TOLD.fullmatch(said)  # by the process that it comes from
        return said if told else next((known for known in ASYNCIO if said.startswith(known)), UNKNOWN)
    given = record.args
    if isinstance(given, Mapping):
        record.args = {name: _kind(value) for name, value in given.items()}
    elif given:
        record.args = tuple(map(_kind, given))
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # the library's own mistake: arguments that do not fit
        message = str(record.msg)
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        for error in _and_causes(record.exc_info[1]):
            if len(str(error)) >= SHORTEST:
                message = message.replace(str(error), type(error).__name__)
    return message


def _kind(value: Any) -> Any:
    """The name of its kind in the place of an exception. Ours carry nothing of a caller."""
    if isinstance(value, BaseException) and not isinstance(value, TriageError | AuditError):
        return type(value).__name__
    return value


def _and_causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if not isinstance(error, TriageError | AuditError):
            yield error
        error = error.__cause__ or error.__context__


# --- what nobody catches


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("the program ends", exc_info=(kind, error, trace))


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is not SystemExit and told.exc_value is not None:
        log.critical("a thread has ended", exc_info=(told.exc_type, told.exc_value, told.exc_traceback))


def _unraisable(told: "sys.UnraisableHookArgs") -> None:
    if told.exc_value is not None:
        log.error("nobody could catch this", exc_info=(told.exc_type, told.exc_value, told.exc_traceback))
