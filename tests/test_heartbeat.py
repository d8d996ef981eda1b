"""Promise: a keeper that works is seen to work, and one that stands still, died or never was is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from triage import heartbeat
from triage.clock import NS


def now_ns(folder: Path) -> int:
    return (folder / heartbeat.BEAT).stat().st_mtime_ns


def test_a_fresh_beat_of_a_living_process_counts(tmp_path: Path) -> None:
    assert not heartbeat.beats(tmp_path, wall_ns=0)
    heartbeat.beat(tmp_path)
    at_ns = now_ns(tmp_path)
    assert heartbeat.beats(tmp_path, wall_ns=at_ns)
    assert not heartbeat.beats(tmp_path, wall_ns=at_ns + round(heartbeat.BEATS_WITHIN_S * NS) + 1)


def test_a_beat_of_the_future_does_not_count_for_ever(tmp_path: Path) -> None:
    heartbeat.beat(tmp_path)
    assert not heartbeat.beats(tmp_path, wall_ns=now_ns(tmp_path) - 3600 * NS)


def test_the_beat_of_a_process_that_died_does_not_count(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / heartbeat.BEAT).write_text(f'{{"pid": {dead.pid}}}')
    assert not heartbeat.beats(tmp_path, wall_ns=now_ns(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x"}', "\x00"])
def test_a_damaged_beat_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / heartbeat.BEAT).write_text(content)
    assert not heartbeat.beats(tmp_path, wall_ns=now_ns(tmp_path))


def test_who_stops_beats_no_more(tmp_path: Path) -> None:
    heartbeat.beat(tmp_path)
    heartbeat.stop(tmp_path)
    heartbeat.stop(tmp_path)
    assert os.listdir(tmp_path) == []
