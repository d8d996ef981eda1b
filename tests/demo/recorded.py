"""A made-up call as the traces its observers got: greeting, a cough, danger, hand-off, nurse. Times in ms."""

from classifiers.assessment import Assessment, Evidence
from classifiers.levels import Category, Level
from fsm import effects as fx
from fsm import events as ev
from fsm.call import Call
from fsm.machine import Step
from fsm.states import Dismissal, Phase, Reason, State
from triage.ports import Packet, Transcript
from triage.trace import (
    Assessed,
    CallbackOpened,
    CallClosed,
    HandoffClock,
    Heard,
    Measured,
    Noted,
    PacketMade,
    Paged,
    Said,
    StepTaken,
    Trace,
)

TEXTS = {
    "greeting": "Hello, this is the automated nurse line.",
    "connecting_nurse": "I am connecting you to a nurse now.",
}
CHEST = "i have chest pain and my left arm feels heavy"
START_MS = 5_000


def ns(ms: int) -> int:
    """Call time in ms to the clock's ns."""
    return (START_MS + ms) * 1_000_000


def stepped(
    ms: int, before: State, event: ev.Event, after: State, *effects: fx.Effect, phase: Phase = Phase.LIVE
) -> StepTaken:
    """One decision."""
    old = Call(state=before, phase=Phase.LIVE if before is not State.IDLE else Phase.NEW)
    return StepTaken(at_ns=ns(ms), step=Step(old, event, Call(state=after, phase=phase, turn=1), effects))


def heard(ms: int, text: str, *, final: bool) -> Heard:
    """An interim or a final."""
    return Heard(at_ns=ns(ms), transcript=Transcript(1, final, text, (), 0, 0), turn=1)


def judged(ms: int, text: str, level: Level, *evidence: tuple[int, int], suppressed: str = "") -> Assessed:
    """A verdict with its spans."""
    verdict = Assessment(
        level=level,
        category=Category.CHEST if evidence else Category.NONE,
        score=0.9 if evidence else 0.0,
        evidence=tuple(Evidence(start=a, end=b, text=text[a:b]) for a, b in evidence),
        rule="chest.pain" if evidence else "",
        clip="connecting_nurse" if evidence else "",
    )
    return Assessed(
        at_ns=ns(ms), kind="final", text=text, assessment=verdict, turn=1, took_us=800, suppressed=suppressed
    )


def packet(version: int = 1) -> Packet:
    """What the nurse reads."""
    return Packet(
        code="k7",
        call_id="call-1",
        made_ns=ns(9000),
        rank=80,
        level="nurse_now",
        category="chest",
        reason="urgent",
        situation={"said": CHEST},
        background={"age": "not known"},
        assessment={"rule": "chest.pain"},
        recommendation={"now": "speak to the caller"},
        version=version,
    )


def chest_call() -> list[Trace]:
    """The whole call."""
    s, fact = State, {"at_ns": 0}
    return [
        stepped(
            0,
            s.IDLE,
            ev.CallConnected(at_ns=0, opening=("greeting",), ladder=(), urgent_ladder=()),
            s.SPEAKING,
            fx.Play(playback=1, prompts=("greeting",)),
        ),
        stepped(2000, s.SPEAKING, ev.SpeechStarted(**fact), s.INTERRUPT, fx.PausePlayout()),
        Measured(at_ns=ns(2000), name="barge_in_pause", ms=64.0),
        stepped(2700, s.INTERRUPT, ev.SpeechDismissed(**fact, why=Dismissal.COUGH), s.SPEAKING, fx.ResumePlayout()),
        stepped(4000, s.SPEAKING, ev.SpeechStarted(**fact), s.INTERRUPT, fx.PausePlayout()),
        stepped(
            4400, s.INTERRUPT, ev.WordsHeard(**fact), s.LISTENING, fx.FlushPlayout(), fx.TruncateHistory(generation=0)
        ),
        Said(
            at_ns=ns(4400),
            playback=1,
            text="Hello, this is the automated",
            ordered=TEXTS["greeting"],
            prompt="greeting",
            cut_off=True,
        ),
        heard(6000, "i have chest", final=False),
        heard(9000, CHEST, final=True),
        judged(9001, CHEST, Level.NURSE_NOW, (7, 17), (22, 45)),
        HandoffClock(at_ns=ns(9000), mark="t_final", source="own clock"),
        stepped(
            9001,
            s.LISTENING,
            ev.UrgencyRaised(
                **fact, level="nurse_now", category="chest", rank=80, clip="connecting_nurse", says_number=False
            ),
            s.HANDOFF,
            fx.FlushPlayout(),
            fx.Play(playback=2, prompts=("connecting_nurse",)),
            fx.SendPacket(reason=Reason.URGENT, level="nurse_now", category="chest", rank=80),
        ),
        PacketMade(at_ns=ns(9002), packet=packet()),
        HandoffClock(at_ns=ns(9005), mark="t_clip_audible", source="own clock"),
        Measured(at_ns=ns(9005), name="clip_audible", ms=5.0),
        HandoffClock(at_ns=ns(10_900), mark="t_answered", source="carrier", attempt=1),
        Measured(at_ns=ns(10_900), name="nurse_handoff", ms=1900.0),
        Said(
            at_ns=ns(11_000),
            playback=2,
            text=TEXTS["connecting_nurse"],
            ordered=TEXTS["connecting_nurse"],
            prompt="connecting_nurse",
            cut_off=False,
        ),
        Paged(at_ns=ns(11_500), alarm="audit_store"),
        CallbackOpened(at_ns=ns(11_600), reason="urgent", level="nurse_now", within_s=600),
        Noted(at_ns=ns(11_700), text="the tail was empty"),
        stepped(15_000, s.HANDOFF, ev.HungUp(**fact), s.IDLE, phase=Phase.ENDED),
        CallClosed(
            at_ns=ns(15_300),
            call_id="call-1",
            outcome="nurse_bridged",
            counts={"finals": 1, "stretches": 0, "tails": 0, "assessments": 1, "pauses": 2, "false_pauses": 1},
        ),
        Measured(at_ns=ns(15_400), name="summary", ms=40.0),
    ]
