"""What LiveKit's worker library would give away if it were left alone, turned off: telemetry, uploads, talkative logs.

Two halves, each without the library itself, so that they can be read and tested alone:

- the environment of the worker and of every process it starts (`pinned`): variables that send a caller's words elsewhere
  stop the start, the rest of the library's own are dropped, and what must be said by variable is said;
- the log (`install`): one line each, from INFO on, our own wording or the library's message, never its extra fields (they
  hold transcripts, metadata, identities), never an exception's text, and through the scrubber at the end.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import TextIO

from triage.errors import SettingError
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
        record.msg, record.args = f"{record.getMessage()}{_where(record)}", ()
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
    for handler in root.handlers:
        handler.addFilter(Discreet())
        handler.setFormatter(OneLine(secrets) if stream is not None else logging.Formatter("%(message)s"))
    root.setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(logging.INFO)


def _where(record: logging.LogRecord) -> str:
    """Kind and place of the record's exception; its text may hold a caller's words."""
    if not isinstance(record.exc_info, tuple) or record.exc_info[1] is None:
        return ""
    error, trace = record.exc_info[1], record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}" if trace is not None else ""
    return f" ({type(error).__name__}{place})"
