"""Compiled rules, kept beside the rule files as Python keeps its own: in `__pycache__`, and never trusted when stale.

What is kept is named by a hash over every rule file and over the code that compiles them, and carries a hash of itself;
whatever does not fit is as good as absent, and the rules are compiled anew. A folder that cannot be written costs time
and nothing else. Nothing here is ever needed for a correct answer.
"""

import hashlib
import importlib.util
import marshal
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COMPILED_BY = ("notation.py", "patterns.py", "rule_cache.py", "rule_check.py", "rulebook.py", "tokens.py")
_HASH = 32


def key_of(texts: Mapping[str, str]) -> bytes:
    """The hash under which what these rule files compile to is kept; empty where the code cannot be read."""
    found = hashlib.sha256(sys.version.encode())
    try:
        for name in _COMPILED_BY:
            found.update(Path(__file__).with_name(name).read_bytes())
    except OSError:
        return b""
    for name in sorted(texts):
        found.update(f"\0{name}\0{texts[name]}".encode())
    return found.digest()


def place() -> Path:
    """The file that holds the compiled rules of this Python; it may be absent.

    Raises:
        NotImplementedError: this Python keeps no compiled code anywhere.
    """
    beside = Path(__file__).with_name("rules") / "compiled.py"
    return Path(importlib.util.cache_from_source(str(beside))).with_suffix(".rules")


def read(key: bytes, path: Path | None = None) -> Any | None:
    """What was kept under this key; None when nothing was, or when it is not whole."""
    try:
        content = (path or place()).read_bytes()
    except (OSError, NotImplementedError):  # nothing there, or not for us; a Python that keeps nothing has no `place`
        return None
    payload = memoryview(content)[2 * _HASH :]
    if not key or content[:_HASH] != key or content[_HASH : 2 * _HASH] != hashlib.sha256(payload).digest():
        return None
    return marshal.loads(payload)


def keep(key: bytes, compiled: Any, path: Path | None = None) -> bool:
    """Keep this under the key, in one step, so that nobody ever reads half of it. Returns whether it is kept.

    Without a path it goes to `place()`, unless Python is told to keep nothing (`PYTHONDONTWRITEBYTECODE`).
    """
    if not key or (path is None and sys.dont_write_bytecode):
        return False
    try:
        path = path or place()
        payload = marshal.dumps(compiled)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(key + hashlib.sha256(payload).digest() + payload)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except OSError:
            os.unlink(name)
            raise
    except (OSError, NotImplementedError):  # no room, not ours to write; a Python that keeps nothing has no `place`
        return False
    except ValueError:  # a rule file holds what cannot be kept: a date that is not written as text
        return False
    return True
