"""What this machine has: marks that skip and say why, and the speech that engines are tried on."""

import ctypes.util
import importlib.util
import os
from pathlib import Path

import pytest

from triage.audio import read_wav
from triage.ports import Pcm

ROOT = Path(__file__).resolve().parents[2]
CALLERS = ROOT / "triage" / "demo" / "callers"
SHARED = Path(os.environ.get("TRIAGE_SHARED", ROOT.parent / "shared")) / "callers"

HAS_POCKETSPHINX = importlib.util.find_spec("pocketsphinx") is not None
HAS_FLITE = ctypes.util.find_library("flite") is not None or any(
    (Path(folder) / "libflite.so.1").exists() for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
)

needs_pocketsphinx = [
    pytest.mark.engine,
    pytest.mark.skipif(not HAS_POCKETSPHINX, reason="no pocketsphinx wheel for this Python; use 3.11 or 3.13"),
]
needs_flite = [
    pytest.mark.engine,
    pytest.mark.skipif(not HAS_FLITE, reason="flite is not installed; run: apt-get install libflite1"),
]


def caller(line: str) -> Pcm:
    """The shipped speech of one caller line."""
    return read_wav(CALLERS / f"{line}.wav")


def engine(kind: type, marks: list[pytest.MarkDecorator]) -> object:
    """A contract's parameter that needs an engine."""
    return pytest.param(kind, marks=marks, id=kind.__name__)
