"""Promise: any audio file becomes 16 kHz mono or is refused in one line; levels, µ-law and edges are right to the sample."""

import os
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from triage.audio import (
    PHONE_RATE,
    SILENCE_DB,
    StreamResampler,
    at_level,
    first_sound,
    frames,
    from_phone,
    last_sound,
    level_db,
    mix,
    mulaw_decode,
    mulaw_encode,
    over_the_phone,
    read_wav,
    resample,
    silence,
    sound_spans,
    to_phone,
    write_wav,
)
from triage.errors import AssetError
from triage.ports import FRAME, RATE, Pcm


def tone(seconds: float, hz: float = 440.0, rate: int = RATE, peak: float = 0.5) -> Pcm:
    at = np.arange(round(seconds * rate)) / rate
    return np.rint(np.sin(2 * np.pi * hz * at) * peak * 32767).astype(np.int16)


def pitch(pcm: Pcm) -> float:
    """The loudest frequency in Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(pcm))) * RATE / len(pcm))


class TestReading:
    @pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "ULAW"])
    def test_any_rate_and_width_becomes_16_khz_int16(self, tmp_path: Path, rate: int, subtype: str) -> None:
        path = tmp_path / "caller.wav"
        soundfile.write(path, tone(1.0, rate=rate) / 32768, rate, subtype=subtype)
        pcm = read_wav(path)
        assert pcm.dtype == np.int16
        assert abs(len(pcm) - RATE) <= 2
        assert pitch(pcm) == pytest.approx(440, abs=2)
        assert level_db(pcm) == pytest.approx(level_db(tone(1.0)), abs=0.3)

    @pytest.mark.parametrize("channels", [1, 2, 6])
    def test_channels_are_averaged(self, tmp_path: Path, channels: int) -> None:
        path = tmp_path / "caller.wav"
        both = np.zeros((RATE, channels), dtype=np.int16)
        both[:, 0] = tone(1.0)
        soundfile.write(path, both, RATE)
        assert level_db(read_wav(path)) == pytest.approx(level_db(tone(1.0)) - 20 * np.log10(channels), abs=0.1)

    def test_other_containers_are_taken(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "caller.flac", tone(0.5), RATE)
        assert np.array_equal(read_wav(tmp_path / "caller.flac"), tone(0.5))

    def test_what_was_written_is_read_back_to_the_sample(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", tone(0.5))
        assert np.array_equal(read_wav(tmp_path / "a.wav"), tone(0.5))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(AssetError, match=r"gone\.wav does not exist; check the path"):
            read_wav(tmp_path / "gone.wav")

    def test_a_folder_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(AssetError, match="is a folder; give a WAV file"):
            read_wav(tmp_path)

    def test_an_empty_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "empty.wav").touch()
        with pytest.raises(AssetError, match=r"empty\.wav is empty; record or export it again"):
            read_wav(tmp_path / "empty.wav")

    def test_a_header_without_samples_is_named(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "none.wav", silence(0))
        with pytest.raises(AssetError, match=r"none\.wav holds no audio samples"):
            read_wav(tmp_path / "none.wav")

    @pytest.mark.parametrize("content", [b"this is no sound", b"RIFF\x00\x00\x00\x00WAVEjunk", b"\x00" * 5000])
    def test_what_is_not_audio_is_named_with_the_remedy(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "odd.wav").write_bytes(content)
        with pytest.raises(AssetError, match=r"odd\.wav is not audio we can read; convert it to WAV \(PCM\)"):
            read_wav(tmp_path / "odd.wav")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_an_unreadable_file_is_named(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "mine.wav", tone(0.1))
        (tmp_path / "mine.wav").chmod(0)
        with pytest.raises(AssetError, match="check its permissions"):
            read_wav(tmp_path / "mine.wav")

    def test_a_file_cut_short_gives_what_is_there(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "cut.wav", tone(1.0))
        whole = (tmp_path / "cut.wav").read_bytes()
        (tmp_path / "cut.wav").write_bytes(whole[: len(whole) // 2])
        assert 0 < len(read_wav(tmp_path / "cut.wav")) < RATE

    def test_a_file_of_many_hours_is_refused_before_it_is_read(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "day.flac", np.zeros(2 * 3600 * 1000 + 1, dtype=np.int16), 1000)
        with pytest.raises(AssetError, match="longer than 2 hours"):
            read_wav(tmp_path / "day.flac")


class TestWriting:
    def test_two_channels_are_left_and_right_and_the_shorter_is_filled(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "call.wav", tone(1.0), tone(0.5, 880))
        with wave.open(str(tmp_path / "call.wav")) as source:
            assert (source.getnchannels(), source.getsampwidth(), source.getframerate()) == (2, 2, RATE)
            both = np.frombuffer(source.readframes(RATE), dtype="<i2").reshape(-1, 2)
        assert np.array_equal(both[:, 0], tone(1.0))
        assert np.array_equal(both[: RATE // 2, 1], tone(0.5, 880))
        assert not both[RATE // 2 :, 1].any()

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(AssetError, match=r"a\.wav cannot be written \(.*\); free space or choose a folder"):
            write_wav(tmp_path / "no" / "a.wav", tone(0.1))

    def test_three_channels_are_no_call(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="one or two"):
            write_wav(tmp_path / "a.wav", tone(0.1), tone(0.1), tone(0.1))


class TestRates:
    def test_resampling_keeps_pitch_and_length(self) -> None:
        up = resample(tone(1.0, rate=8000), 8000, RATE)
        assert abs(len(up) - RATE) <= 1
        assert pitch(up) == pytest.approx(440, abs=1)

    def test_a_stream_in_pieces_is_the_whole_but_for_its_delay(self) -> None:
        stream, pcm = StreamResampler(8000, RATE), tone(1.0, rate=8000)
        pieces = [stream.feed(pcm[at : at + 160], last=at + 160 >= len(pcm)) for at in range(0, len(pcm), 160)]
        joined = np.concatenate(pieces)
        whole = resample(pcm, 8000, RATE)
        assert len(joined) == len(whole)
        assert np.abs(joined.astype(int) - whole)[400:-400].max() < 200


class TestTelephone:
    def test_the_law_has_its_published_values(self) -> None:
        # ITU-T G.711, table 2a/2b: decision values of the mu-law on the 16-bit scale
        published = {0: 0xFF, 32124: 0x80, -32124: 0x00, 8: 0xFE, -8: 0x7E, 30: 0xFB, 1000: 0xCE, -1000: 0x4E}
        codes = mulaw_encode(np.array(list(published), dtype=np.int16))
        assert codes.tolist() == list(published.values())
        assert mulaw_decode(bytes([0x80, 0x00, 0xFF, 0x7F])).tolist() == [32124, -32124, 0, 0]

    def test_every_code_survives_the_round_trip(self) -> None:
        codes = np.delete(np.arange(256, dtype=np.uint8), 0x7F)  # minus zero comes back as zero
        assert np.array_equal(mulaw_encode(mulaw_decode(codes)), codes)

    def test_the_error_stays_within_half_a_step(self) -> None:
        pcm = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
        error = np.abs(mulaw_decode(mulaw_encode(pcm)).astype(int) - pcm)
        assert np.all(
            error[np.abs(pcm.astype(int)) <= 32124]
            <= np.maximum(8, np.abs(pcm.astype(int)) / 16 + 4)[np.abs(pcm.astype(int)) <= 32124]
        )

    def test_a_leg_carries_one_byte_per_8_khz_sample(self) -> None:
        assert len(to_phone(tone(1.0))) == PHONE_RATE
        assert abs(len(from_phone(to_phone(tone(1.0)))) - RATE) <= 1

    def test_over_the_phone_keeps_length_and_alignment_and_loses_what_is_above_4_khz(self) -> None:
        low, high = tone(1.0, 1000), tone(1.0, 6000)
        assert len(over_the_phone(low)) == len(low)
        inner = slice(800, -800)
        assert np.corrcoef(over_the_phone(low)[inner], low[inner])[0, 1] > 0.99
        assert level_db(over_the_phone(high)[inner]) < level_db(high) - 30


class TestLevels:
    def test_full_scale(self) -> None:
        assert level_db(np.full(RATE, -32768, dtype=np.int16)) == pytest.approx(0.0)
        assert level_db(tone(1.0, peak=1.0)) == pytest.approx(-3.01, abs=0.01)
        assert level_db(silence(1.0)) == level_db(silence(0)) == SILENCE_DB

    def test_at_level_sets_it_and_leaves_silence_alone(self) -> None:
        assert level_db(at_level(tone(1.0), -30.0)) == pytest.approx(-30.0, abs=0.05)
        assert not at_level(silence(0.1), -30.0).any()

    def test_mixing_adds_and_clips(self) -> None:
        loud = np.full(10, 30_000, dtype=np.int16)
        assert mix(loud, loud[:5]).tolist() == [32_767] * 5 + [30_000] * 5

    def test_edges_of_sound_are_found_on_the_10_ms_grid(self) -> None:
        pcm = np.concatenate([silence(0.5), tone(0.3), silence(0.1), tone(0.2), silence(0.4), tone(0.1), silence(0.3)])
        assert sound_spans(pcm) == [(8000, 17_600), (24_000, 25_600)]
        assert (first_sound(pcm), last_sound(pcm)) == (8000, 25_600)
        assert first_sound(silence(1.0)) is None
        assert last_sound(silence(0)) is None

    def test_sound_that_ends_with_the_samples_ends_there(self) -> None:
        assert last_sound(tone(0.105)) == round(0.105 * RATE)


class TestFrames:
    def test_frames_are_whole_in_order_and_the_last_is_filled(self) -> None:
        cut = list(frames(tone(0.05), start=640))
        assert [frame.start for frame in cut] == [640, 960, 1280]
        assert all(len(frame.pcm) == FRAME for frame in cut)
        assert np.array_equal(np.concatenate([frame.pcm for frame in cut])[:800], tone(0.05))
        assert not cut[-1].pcm[160:].any()

    def test_no_samples_are_no_frames(self) -> None:
        assert list(frames(silence(0))) == []
