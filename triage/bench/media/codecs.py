"""G.711 (µ-law and A-law, ITU-T G.711) by table, and G.722 by its library. One object per direction and call.

G.722 has a trap of its own: SDP and RTP count it at 8000, its audio is 16 kHz. 20 ms are 160 bytes in all three.
"""

from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from triage.bench.sip.ports import Pcm

PAYLOAD = 160
"""Bytes of 20 ms, and steps of the RTP clock, in each codec."""
_SEGMENT_ENDS = np.array([0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF])


class Encoder(Protocol):
    """One direction of one call, outward."""

    def encode(self, pcm: Pcm) -> bytes:
        """Return the payload."""


class Decoder(Protocol):
    """One direction of one call, inward."""

    def decode(self, payload: bytes) -> Pcm:
        """Return the samples."""


class _Table:
    def __init__(self, compress: NDArray[np.uint8], expand: Pcm) -> None:
        self._compress = compress
        self._expand = expand

    def encode(self, pcm: Pcm) -> bytes:
        return self._compress[pcm.view(np.uint16)].tobytes()

    def decode(self, payload: bytes) -> Pcm:
        return self._expand[np.frombuffer(payload, np.uint8)]


class _G722:
    def __init__(self) -> None:
        from G722 import G722

        self._codec: Any = G722(16000, 64000)

    def encode(self, pcm: Pcm) -> bytes:
        # Only an int16 array will do: given bytes, the library takes each byte for a sample and says nothing.
        return bytes(self._codec.encode(np.ascontiguousarray(pcm, np.int16)))

    def decode(self, payload: bytes) -> Pcm:
        return np.array(self._codec.decode(payload), np.int16)


def encoder(name: str) -> Encoder:
    """Return a fresh encoder. Raises: KeyError for a name that is not one of CODECS."""
    return _G722() if name == "G722" else _Table(*_TABLES[name]())


def decoder(name: str) -> Decoder:
    """Return a fresh decoder. Raises: KeyError for a name that is not one of CODECS."""
    return _G722() if name == "G722" else _Table(*_TABLES[name]())


def _all_samples() -> NDArray[np.int32]:
    """Every int16, in the order of its bits read as uint16."""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)


@cache
def mulaw_tables() -> tuple[NDArray[np.uint8], Pcm]:
    """Return the table from sample bits to code and the table from code to sample."""
    samples = _all_samples() >> 2
    magnitude = np.minimum(np.abs(samples), 8158) + 33
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 5
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 0x0F)
    sign = np.where(samples < 0, 0x00, 0x80)
    compress = (sign | (~code & 0x7F)).astype(np.uint8)
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    level = ((((codes & 0x0F) << 3) + 132) << ((codes >> 4) & 7)) - 132
    return compress, np.where(codes & 0x80, -level, level).astype(np.int16)


@cache
def alaw_tables() -> tuple[NDArray[np.uint8], Pcm]:
    """Return the table from sample bits to code and the table from code to sample."""
    samples = _all_samples() >> 3
    magnitude = np.where(samples < 0, -samples - 1, samples)
    segment = np.searchsorted(_SEGMENT_ENDS, magnitude)
    step = np.where(segment < 2, magnitude >> 1, magnitude >> segment)
    code = (segment << 4) | (step & 0x0F)
    compress = (code ^ np.where(samples < 0, 0x55, 0xD5)).astype(np.uint8)
    codes = np.arange(256, dtype=np.int32) ^ 0x55
    segments, level = (codes >> 4) & 7, ((codes & 0x0F) << 4) + 8
    level = np.where(segments > 0, (level + 256) << np.maximum(segments - 1, 0), level)
    return compress, np.where(codes & 0x80, level, -level).astype(np.int16)


_TABLES = {"PCMU": mulaw_tables, "PCMA": alaw_tables}
