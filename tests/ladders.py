"""Whole hand-offs by the hundred: the real machine, runtime, playout and simulated line, in virtual time, without a recogniser.

`climb(Ladder(...))` tells a living call one urgent finding and watches what becomes of it for 12.5 seconds. The caller
says nothing, so the line need not carry 50 frames a second (`silent`); where the carrier mutes us it does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fsm import effects as fx
from fsm import events as ev
from fsm.machine import Step
from fsm.states import Phase, RungKind, TimerName
from tests.test_runtime import CLIPS, URGENT, Nursing, World
from triage.clock import run
from triage.handoff.desk import FileDesk, Target
from triage.lines.nurse_phones import Behaviour, NurseLeg, NursePhone
from triage.lines.simulated import SimulatedLine
from triage.ports import RATE
from triage.trace import Paged

WATCHED_S = 12.5
BEFORE_S = 0.1
"""The finding comes this long after the call began."""
NUMBER = "emergency_number"
RECOGNISED_S = 0.5
"""So much of the clip is looked for in what the caller heard."""
GRAVER = replace(URGENT, level="emergency_now", category="collapse", rank=1000, says_number=True)


class Silent(SimulatedLine):
    """A line whose caller says nothing: it need not live 50 times a second."""

    def _schedule(self) -> None: ...


class Stubborn(Silent):
    """A carrier that goes on with a REFER after our time for it is over, and takes no second one meanwhile."""

    def _pending(self) -> list[NurseLeg]:
        return [leg for leg in self._legs.values() if leg.is_refer and not (leg.settled or leg.answered)]


@dataclass(frozen=True)
class Rung:
    """One rung and the phone behind it."""

    kind: RungKind
    phone: NursePhone
    within_s: float = 4.0


@dataclass(frozen=True)
class Ladder:
    """One hand-off to watch."""

    rungs: tuple[Rung, ...]
    again_s: float | None = None
    """So many seconds after the first finding a graver one comes."""
    leaves_s: float | None = None
    """So many seconds after the finding the caller hangs up."""
    media_during_refer: bool = True
    late_notify: bool = True
    silent: bool = True
    stubborn: bool = False

    def targets(self) -> tuple[Target, ...]:
        return tuple(
            Target(ev.Rung(kind=rung.kind, target=f"nurse-{n}", answer_within_s=rung.within_s), "sip:n@nurses.invalid")
            for n, rung in enumerate(self.rungs)
        )


@dataclass
class Climbed:
    """What became of it. Times are seconds after the finding."""

    ladder: Ladder
    steps: list[Step]
    nursing: Nursing
    line: SimulatedLine
    paged: list[tuple[float, str]]
    number_ordered_s: float | None
    number_heard_s: float | None
    """When the caller's ear heard the first sample of the emergency number."""
    person_s: float | None
    """When a nurse first had the caller."""
    gone_s: float | None
    """When the line said that the caller is gone: hung up, or taken by a carrier that says so to nobody."""
    on_the_way: bool
    """At the end of the watch: an attempt under way, or the next round set."""
    line_open: bool
    pending_legs: int
    """Dialled legs that still ring or hold, at the end."""
    transfers: list[tuple[float, str]] = field(default_factory=list)


def climb(ladder: Ladder, watched_s: float = WATCHED_S) -> Climbed:
    """Live through it."""
    return run(_climbed(ladder, watched_s), virtual=True)


async def _climbed(ladder: Ladder, watched_s: float) -> Climbed:
    kind = Stubborn if ladder.stubborn else Silent if ladder.silent else SimulatedLine
    phones = {f"nurse-{n}": rung.phone for n, rung in enumerate(ladder.rungs)}
    world = World(
        phones,
        line=lambda clock, patient: kind(
            clock, patient, phones, media_during_refer=ladder.media_during_refer, late_notify=ladder.late_notify
        ),
    )
    desk = FileDesk(ladder.targets())

    def connected() -> ev.CallConnected:
        during = ladder.media_during_refer
        return ev.CallConnected(
            at_ns=world.clock.now_ns(),
            opening=("greeting",),
            ladder=desk.ladder(urgent=False, media_during_refer=during),
            urgent_ladder=desk.ladder(urgent=True, media_during_refer=during),
        )

    running = asyncio.ensure_future(world.runtime.run(connected))
    await asyncio.sleep(BEFORE_S)
    began_ns = world.clock.now_ns()
    world.runtime.tell(replace(URGENT, at_ns=began_ns))
    moments: list[tuple[float, Callable[[], None]]] = []
    if ladder.again_s is not None:
        moments.append((ladder.again_s, lambda: world.runtime.tell(replace(GRAVER, at_ns=world.clock.now_ns()))))
    if ladder.leaves_s is not None:
        moments.append((ladder.leaves_s, lambda: caller_leaves(world.line)))
    for at_s, act in sorted(moments, key=lambda moment: moment[0]):
        await asyncio.sleep(max(0.0, at_s - (world.clock.now_ns() - began_ns) / 1e9))
        act()
    await asyncio.sleep(max(0.0, watched_s - (world.clock.now_ns() - began_ns) / 1e9))
    call, line = world.runtime.call, world.line
    left = Climbed(
        ladder,
        world.record.steps,
        world.nursing,
        line,
        [((t.at_ns - began_ns) / 1e9, t.alarm) for t in world.traces if isinstance(t, Paged)],
        _ordered(world.record.steps, began_ns),
        _heard(line, began_ns, world),
        _person(world.record.steps, began_ns),
        next(((s.event.at_ns - began_ns) / 1e9 for s in world.record.steps if isinstance(s.event, ev.HungUp)), None),
        call.handoff.current != 0 or call.runs(TimerName.LADDER_AGAIN),
        line.ours and call.phase is Phase.LIVE,
        sum(not leg.is_refer and not leg.settled for leg in line._legs.values()),
    )
    left.transfers = [
        (round((step.event.at_ns - began_ns) / 1e9, 3), effect.target)
        for step in left.steps
        for effect in step.effects
        if isinstance(effect, fx.Transfer)
    ]
    if not running.done() and line.ours:
        caller_leaves(line)
    await running
    return left


def caller_leaves(line: SimulatedLine) -> None:
    """The caller puts the phone down: what the line itself does at its next beat."""
    if line.talking:
        line._stop()
        if line.ours:
            line._leg_ended("carrier")


def _heard(line: SimulatedLine, began_ns: int, world: World) -> float | None:
    clip = CLIPS.clip(NUMBER).pcm
    sound = line._agent.read(0, line._agent.end)
    raw, wanted = sound.tobytes(), clip[: int(RECOGNISED_S * RATE)].tobytes()
    at = raw.find(wanted)
    while at >= 0 and at % 2:
        at = raw.find(wanted, at + 1)
    return None if at < 0 else at // 2 / RATE - (began_ns - world.clock.start_ns) / 1e9


def _ordered(steps: list[Step], began_ns: int) -> float | None:
    for step in steps:
        if any(isinstance(effect, fx.Play) and NUMBER in effect.prompts for effect in step.effects):
            return (step.event.at_ns - began_ns) / 1e9
    return None


def _person(steps: list[Step], began_ns: int) -> float | None:
    for step in steps:
        taken = step.after.handoff.taken and not step.before.handoff.taken
        bridged = step.after.handoff.bridged and not step.before.handoff.bridged
        if taken or bridged:
            return (step.event.at_ns - began_ns) / 1e9
    return None


def never_two_together(steps: list[Step]) -> None:
    """No transfer is ordered while another one of ours has neither failed nor run out nor been given back."""
    pending = 0
    for step in steps:
        event = step.event
        over = ev.TransferRefused | ev.TransferTimedOut | ev.TransferPending | ev.NurseLegLost
        if isinstance(event, over) and event.attempt == pending:
            pending = 0
        for effect in step.effects:
            if isinstance(effect, fx.ReleaseNurse) and effect.attempt == pending:
                pending = 0
            if isinstance(effect, fx.Transfer):
                assert pending == 0, f"attempt {effect.attempt} beside {pending}"
                pending = effect.attempt


# --- phones

ANSWERS = NursePhone(Behaviour.ANSWERS)
FAST = NursePhone(Behaviour.BUSY)
UNAVAILABLE = NursePhone(Behaviour.UNAVAILABLE)
SLOW = NursePhone(Behaviour.REFUSES, answers_after_s=3.5)
RINGS_OUT = NursePhone(Behaviour.RINGS_OUT)
SILENT = NursePhone(Behaviour.SILENT)
VOICEMAIL = NursePhone(Behaviour.VOICEMAIL)
DROPS = NursePhone(Behaviour.DROPS)
LATE = NursePhone(Behaviour.LATE, answers_after_s=6.0)
AT_LAST = NursePhone(Behaviour.ANSWERS, answers_after_s=3.8)
EVERY = (ANSWERS, FAST, UNAVAILABLE, SLOW, RINGS_OUT, SILENT, VOICEMAIL, DROPS, LATE, AT_LAST)
"""Every behaviour of a phone, and an answer just within the time."""
CLASSES = (
    *((RungKind.DIAL, phone) for phone in (AT_LAST, FAST, SLOW, RINGS_OUT, VOICEMAIL, DROPS)),
    *((RungKind.REFER, phone) for phone in (AT_LAST, FAST, SLOW, SILENT, LATE)),
)
"""What can be told apart by the ladder: one phone for each way an attempt may go."""
