"""What tests of whole calls share that end with a nurse: how such a call is begun and ended, and promise P1 of it."""

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from fsm import effects as fx
from fsm import events as ev
from tests.calls import CHEST, MS, Living, Rung, says
from triage.demo.patient import Cue
from triage.lines.nurse_phones import Behaviour, NursePhone
from triage.trace import Said

SILENT = {"nurse": NursePhone(Behaviour.SILENT)}
TAKEN, HELD = "transferred", "nurse_bridged"
OVER_GREETING = [says(CHEST, Cue.AT, 1.0)]
"""Danger is said while the greeting is being played."""


def hang_up_after(seconds: float) -> Callable[[Living], Coroutine[Any, Any, None]]:
    """A story: the caller puts the phone down at this second of the call."""

    async def story(living: Living) -> None:
        await living.until(seconds)
        living.patient.hung_up = True

    return story


def handed_over(call: Rung, clip: str = "connecting_nurse") -> int:
    """P1 holds for this call; returns where the clip began. In virtual time only waits count, and there is none."""
    at = call.urgent_at
    begins = [start for start in call.starts(clip, whole=False) if start >= at]
    assert begins and begins[0] - at <= 12 * MS, "the clip's first sample"
    assert call.line.asked and 0 <= call.line.asked[0].at - at <= 12 * MS, "the transfer"
    old = call.heard[at : begins[0]]
    # what the line had accepted before the final was on its way already; nothing of it may come after the clip began
    assert np.count_nonzero(old) <= 25 * MS
    after_urgent = call.steps[[isinstance(s.event, ev.UrgencyRaised) for s in call.steps].index(True) :]
    assert not any(isinstance(effect, fx.Speak | fx.MakeReply) for step in after_urgent for effect in step.effects)
    questions = [
        said.prompt
        for said in call.of(Said)
        if said.at_ns > call.events(ev.UrgencyRaised)[0].at_ns and (said.prompt or "").startswith(("ask.", "q."))
    ]
    assert all("ask.emergency" in (question or "") for question in questions)  # the greeting, reported as cut
    return begins[0]
