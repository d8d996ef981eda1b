"""Errors of the service.

TriageError
├── UsageError         what the person at the terminal can mend; one line, no traceback, exit code 2
├── SettingError       a setting is wrong; names the field
├── AssetError         a clip, protocol, scenario or model file is missing or broken; names the file
├── StorageError       the data folder or the store cannot be used; names it and the remedy
└── StageError         an engine failed; adapters raise these and nothing else
    ├── Unavailable    it is not there (refused, crashed, not installed)
    ├── TimedOut       it did not answer in time
    └── Refused        it answered no

No message carries a caller's words, names or numbers.
"""


class TriageError(Exception):
    """Base of our errors."""

    exit_code = 1


class UsageError(TriageError):
    """Something the person at the terminal can mend; the message names the thing and the remedy."""

    exit_code = 2


class SettingError(UsageError):
    """A setting is wrong; the message names the field."""


class AssetError(UsageError):
    """A shipped file is missing or broken; the message names it and the remedy."""


class StorageError(UsageError):
    """The data folder or the store cannot be used; the message names it and the remedy."""


class StageError(TriageError):
    """An engine (recogniser, model, voice, line, store) failed."""

    def __init__(self, stage: str, code: str) -> None:
        super().__init__(f"{stage}: {code}")
        self.stage = stage
        """stt, llm, tts, vad, line, desk, store or tools."""
        self.code = code
        """Short, fixed wording; safe for logs."""


class Unavailable(StageError):
    """The engine is not there."""


class TimedOut(StageError):
    """The engine did not answer in time."""


class Refused(StageError):
    """The engine answered no."""
