"""Voice activity by Silero VAD (v5, 16 kHz) through onnxruntime alone; the model file is shipped and checked by hash.

One inference session serves every call of the process; what a call has heard so far (64 samples of context and the
network's state) is its own. A window is 512 samples (32 ms) and costs a tenth of a millisecond.
"""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from triage.errors import AssetError
from triage.ports import RATE, Frame, VoiceWindow

WINDOW = 512
"""Samples per decision."""
CONTEXT = 64
"""Samples of the window before that the model wants in front of each window."""
MODEL_SHA256 = "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"

_RATE = np.array(RATE, dtype=np.int64)


def model_path() -> Path:
    """Where the shipped model lies."""
    return Path(str(files("triage.stages"))) / "models" / "silero_vad.onnx"


@cache
def _session(path: Path) -> Any:
    try:
        model = path.read_bytes()
    except OSError as error:
        raise AssetError(f"voice activity model {path} cannot be read; install the package again") from error
    if hashlib.sha256(model).hexdigest() != MODEL_SHA256:
        raise AssetError(f"voice activity model {path} is not the one that was tested; install the package again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])


class SileroVoiceActivity:
    """One call's detector. Not for two calls at a time; make one per call with `load()`."""

    window = WINDOW

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input: NDArray[np.float32] = np.zeros((1, CONTEXT + WINDOW), dtype=np.float32)
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), dtype=np.float32)
        self._filled = 0
        self._next: int | None = None

    @classmethod
    def load(cls, path: Path | None = None) -> "SileroVoiceActivity":
        """A fresh detector on the process's shared session; the first call loads and checks the model (about 50 ms).

        Raises:
            AssetError: the model file is missing or not the tested one; names it and the remedy.
        """
        return cls(_session(path or model_path()))

    def feed(self, frame: Frame) -> list[VoiceWindow]:
        """Decisions that this frame completes. A frame that does not follow the last one starts afresh."""
        if self._next is not None and frame.start != self._next:
            self.reset()
        decided: list[VoiceWindow] = []
        pcm, taken = frame.pcm, 0
        while taken < len(pcm):
            piece = pcm[taken : taken + WINDOW - self._filled]
            at = CONTEXT + self._filled
            np.divide(piece, np.float32(32768.0), out=self._input[0, at : at + len(piece)])
            taken += len(piece)
            self._filled += len(piece)
            if self._filled == WINDOW:
                decided.append(VoiceWindow(frame.start + taken, self._decide()))
        self._next = frame.start + len(pcm)
        return decided

    def reset(self) -> None:
        """Forget everything heard; the next frame may start anywhere."""
        self._input[:] = 0.0
        self._state = np.zeros_like(self._state)
        self._filled = 0
        self._next = None

    def _decide(self) -> float:
        output, self._state = self._session.run(None, {"input": self._input, "state": self._state, "sr": _RATE})
        self._input[0, :CONTEXT] = self._input[0, WINDOW:].copy()
        self._filled = 0
        return float(output[0, 0])
