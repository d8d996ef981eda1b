"""Alarms that no single step can raise: slow turns, slow hand-offs, a slow or broken classifier, a lost stage.

One `Watch` per process, its windows going over all calls (of all processes, where `latencies.SharedWindow`s are given);
one `observer` per call. The latencies are those of `Measured`
traces plus the allowance of the call's line. Each alarm is raised once per call and is the name of a runbook.
"""

from collections.abc import Callable

from classifiers.levels import Category
from fsm import effects as fx
from fsm.alarms import ALL as FROM_THE_MACHINE
from fsm.states import Reason
from triage.latencies import OwnWindow, Window
from triage.trace import Assessed, Measured, Observer, StepTaken, Trace

TURN_TAKING_P95 = "turn_taking_p95"
"""Turn-taking p95 over the last turns at or above 1,000 ms (the promise is 1,200)."""
NURSE_HANDOFF_P95 = "nurse_handoff_p95"
"""Hand-off p95 over the last urgent calls at or above 2.5 s (the promise is 3)."""
NURSE_HANDOFF_SLOW = "nurse_handoff_slow"
"""A single hand-off at or above 3 s."""
CLASSIFIER_FAILED = "classifier_failed"
CLASSIFIER_LAYER = "classifier_layer"
"""A layer beside the rules (the model) broke on a final; the rules judged it alone."""
CLASSIFIER_SLOW = "classifier_slow"
"""One verdict took 50 ms or longer: half of what an urgent final has until its clip."""
STAGE_FAILED = "stage_failed"
"""A call went to a nurse because an engine was beyond repair."""
MACHINE_FAILED = "machine_failed"
"""A step raised: the fixed last ladder carries the call."""
INBOX_FULL = "inbox_full"
"""A call got more events than can make sense; the newest were dropped."""
CALLER_LEFT_ALONE = "caller_left_alone"
"""A caller stood alone, several processes were sent, and none came: their call was ended."""

ALL = (
    *FROM_THE_MACHINE,
    CALLER_LEFT_ALONE,
    MACHINE_FAILED,
    INBOX_FULL,
    TURN_TAKING_P95,
    NURSE_HANDOFF_P95,
    NURSE_HANDOFF_SLOW,
    CLASSIFIER_FAILED,
    CLASSIFIER_LAYER,
    CLASSIFIER_SLOW,
    STAGE_FAILED,
)
"""Every alarm of the service."""

TURN_TAKING_MS = 1000.0
HANDOFF_P95_MS = 2500.0
HANDOFF_MS = 3000.0
CLASSIFIER_US = 50_000


class Watch:
    """What one process watches."""

    def __init__(self, turns: Window | None = None, handoffs: Window | None = None) -> None:
        """`turns`, `handoffs`: windows of `turn_taking` and `nurse_handoff`; of this process where none are given."""
        self._turns = turns or OwnWindow()
        self._handoffs = handoffs or OwnWindow()

    def observer(self, page: Callable[[str], None], *, allowance_ms: float = 0.0) -> Observer:
        """Watch one call. `page` wakes somebody; `allowance_ms` is what the line adds."""
        raised: set[str] = set()

        def observe(trace: Trace) -> None:
            for alarm in self._alarms(trace, allowance_ms):
                if alarm not in raised:
                    raised.add(alarm)
                    page(alarm)

        return observe

    def _alarms(self, trace: Trace, allowance_ms: float) -> list[str]:
        match trace:
            case Measured(name="turn_taking", ms=ms):
                return [TURN_TAKING_P95] if self._turns.add(ms + allowance_ms) >= TURN_TAKING_MS else []
            case Measured(name="nurse_handoff", ms=ms):
                slow = [NURSE_HANDOFF_SLOW] if ms + allowance_ms >= HANDOFF_MS else []
                late = self._handoffs.add(ms + allowance_ms) >= HANDOFF_P95_MS
                return slow + ([NURSE_HANDOFF_P95] if late else [])
            case Assessed(assessment=verdict, took_us=took_us):
                failed = [CLASSIFIER_FAILED] if verdict.category is Category.CLASSIFIER_FAILED else []
                return failed + ([CLASSIFIER_SLOW] if took_us >= CLASSIFIER_US else [])
            case StepTaken(step=step):
                lost = (Reason.STAGE_FAILED, Reason.NO_REPLY)
                return [
                    STAGE_FAILED
                    for effect in step.effects
                    if isinstance(effect, fx.SendPacket) and effect.reason in lost
                ]
            case _:
                return []
