"""Promise: the command that measures the beat runs and says n and its percentiles."""

from triage.bench.media.gaps import measure


async def test_a_short_run_with_calls_in_every_codec_and_others_being_set_up() -> None:
    found = await measure(3, 1.0, 4.0, ("PCMU", "PCMA", "G722"))
    assert 130 < found["n"] < 260
    assert 19 <= found["p50"] <= 21
    assert found["p50"] <= found["p99"] <= found["p99.9"] <= found["max"] + 0.1
