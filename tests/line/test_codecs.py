"""Promise: G.711 is ITU-T's to the bit in both directions, and G.722 carries wideband audio, frame after frame."""

import hashlib

import numpy as np
import pytest

from triage.bench.media.codecs import alaw_tables, decoder, encoder, mulaw_tables

EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int16)
EVERY_CODE = bytes(range(256))

# Made with the reference tables of CPython 3.11 (audioop: lin2ulaw, ulaw2lin, lin2alaw, alaw2lin).
REFERENCE = {
    "PCMU": ("81d633c9e6972a18c74a58720b96cb8ca0bdd096d4060b646dd708c3b846019a",
             "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827"),
    "PCMA": ("38488f6fd710f4686360edc4d38639f96c491595ef93f8eb8d62d5e07ca6ce7b",
             "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCE)
def test_every_sample_and_every_code_is_the_references(name: str) -> None:
    there, back = REFERENCE[name]
    assert hashlib.sha256(encoder(name).encode(EVERY_SAMPLE)).hexdigest() == there
    assert hashlib.sha256(decoder(name).decode(EVERY_CODE).astype("<i2").tobytes()).hexdigest() == back


def test_known_codes() -> None:
    samples = np.array([0, -1, 32767, -32768, 1000, -1000], np.int16)
    assert encoder("PCMU").encode(samples).hex() == "ff7e8000ce4e"
    assert encoder("PCMA").encode(samples).hex() == "d555aa2afa7a"
    assert decoder("PCMU").decode(bytes.fromhex("ff7f8000")).tolist() == [0, 0, 32124, -32124]
    assert decoder("PCMA").decode(bytes.fromhex("d555aa2a")).tolist() == [8, -8, 32256, -32256]


@pytest.mark.parametrize("name", REFERENCE)
def test_a_code_comes_back_as_itself(name: str) -> None:
    again = encoder(name).encode(decoder(name).decode(EVERY_CODE))
    different = [code for code in range(256) if again[code] != code]
    assert different == ([127] if name == "PCMU" else [])  # minus zero


def test_tables_are_made_once() -> None:
    assert mulaw_tables() is mulaw_tables() and alaw_tables() is alaw_tables()


def test_an_unknown_codec_is_an_error() -> None:
    with pytest.raises(KeyError):
        encoder("opus")


@pytest.mark.line
@pytest.mark.parametrize("hz", [440, 3000, 6000])
def test_g722_carries_what_the_telephone_cannot(hz: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000)).astype(np.int16)
    there, back = encoder("G722"), decoder("G722")
    payloads = [there.encode(tone[at : at + 320]) for at in range(0, 16_000, 320)]
    assert {len(payload) for payload in payloads} == {160}
    heard = np.concatenate([back.decode(payload) for payload in payloads])
    assert heard.dtype == np.int16 and len(heard) == 16_000
    wave = np.exp(-2j * np.pi * hz * np.arange(16_000) / 16_000)
    assert abs(np.mean(heard * wave)) * 2 == pytest.approx(8000, rel=0.05)


@pytest.mark.line
def test_g722_takes_a_slice_with_gaps_for_what_it_is() -> None:
    """The library reads memory as it lies; a view must not become other sound."""
    stereo = np.zeros(640, np.int16)
    stereo[::2] = 1000
    assert encoder("G722").encode(stereo[::2]) == encoder("G722").encode(np.full(320, 1000, np.int16))
