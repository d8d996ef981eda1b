"""One process at a time: a file that is locked for as long as it runs. The kernel frees it however that process ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from triage.errors import StorageError, UsageError


@contextmanager
def alone(lock: Path, taken: str) -> Iterator[None]:
    """Hold this file's lock. `taken`: what to say where somebody else does.

    Raises:
        UsageError: somebody else does.
        StorageError: the file's folder cannot be written.
    """
    try:
        handle = lock.open("a")
    except OSError as error:
        raise StorageError(f"{lock.parent}: {error.strerror}; mend it or name another folder with --data") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(taken) from error
        yield
