"""Promise: one process at a time holds a lock; who comes second is told what to do, and the lock ends with its holder."""

from pathlib import Path

import pytest

from triage.alone import alone
from triage.errors import StorageError, UsageError


def test_the_second_is_told_and_the_next_one_gets_it(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with alone(lock, "taken: end it"), pytest.raises(UsageError, match="taken: end it"), alone(lock, "taken: end it"):
        pytest.fail("two hold it")
    with alone(lock, "never said"):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="gone"), alone(tmp_path / "gone" / "x.lock", "taken"):
        pytest.fail("nothing was locked")
