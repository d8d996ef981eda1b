"""Promise: on a bad network a caller in danger is still heard, handed over, and hears what we say.

Each network spoils one call, signalling and audio, with a seed of its own; caller and nurse are baresip over PCMU.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.line.whole_line import CHEST_PAIN, QUEUE, Ladder, WholeLine, ringing, spoken, telephone, whole_line
from triage.bench.impairer import NETWORKS
from triage.bench.phones import baresip
from triage.bench.phones.hearing import find
from triage.clips import ClipLibrary

pytestmark = pytest.mark.skipif(baresip.missing() is not None, reason=str(baresip.missing()))

CLIPS = ClipLibrary.load()
LOST = {"loss_2": (0.0, 0.08), "loss_10": (0.04, 0.2)}
"""Share of packets that must have been lost, least and most."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeLine]:
    folder = tmp_path_factory.mktemp("network")
    with whole_line(folder, Ladder([(QUEUE, "refer", 8)]), seed=11, worker_idle_processes="1") as running:
        yield running


@pytest.mark.parametrize("name", NETWORKS)
async def test_a_call_reaches_its_nurse(line: WholeLine, tmp_path: Path, name: str) -> None:
    line.begin()
    line.script(CHEST_PAIN)
    began_s = line.since()
    nurse_of = telephone(tmp_path, QUEUE, spoken(0.5, "nurse_hello"))
    caller_of = telephone(tmp_path, "caller", spoken(2.0, "chest_pain_first"))
    line.nurses(queue=nurse_of.sip_port)
    async with baresip.phone(nurse_of) as nurse, ringing(line, caller_of, NETWORKS[name]) as caller:
        await nurse.event("CALL_ESTABLISHED", limit_s=25)
        await asyncio.sleep(1.0)
        record = await line.record()
        heard = line.audio(caller_of.sip_port, since_s=began_s)
        ours, theirs = line.ports_of(caller_of.sip_port, since_s=began_s)
        await caller.command("hangup")
    assert record.outcome == "transferred" and "answered" in record.events()
    assert find(CLIPS.clip("greeting").pcm, heard.pcm).likeness > 0.5
    carried = [*line.network.packets(ours, theirs), *line.network.packets(theirs, ours)]
    share = sum(packet.delivered_s is None for packet in carried) / len(carried)
    least, most = LOST.get(name, (-1.0, 0.0))
    assert least < share <= most
    late = np.array([p.delivered_s - p.sent_s for p in carried if p.delivered_s is not None])
    if name in ("jitter_60", "telephone_280"):
        assert 0.03 < float(late.mean()) < 0.2
    if name == "freeze_500":
        assert float(late.max()) > 0.4
