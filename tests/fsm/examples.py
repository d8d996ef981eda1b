"""One plain example of every event, and rungs to climb; shared by the tests of the machine."""

from fsm import events as ev
from fsm.states import Declared, Dismissal, Reason, RungKind
from fsm.states import TimerName as T

QUEUE = ev.Rung(kind=RungKind.REFER, target="queue", declared=Declared.QUEUE, gives_person_sign=True)
NURSE = ev.Rung(kind=RungKind.DIAL, target="nurse", declared=Declared.PERSON, answer_within_s=15.0)
DESK = ev.Rung(kind=RungKind.DESK, target="desk", declared=Declared.PERSON)
LADDER = (QUEUE, NURSE, DESK)
URGENT_LADDER = (NURSE, QUEUE)

CONNECTED = ev.CallConnected(at_ns=0, opening=("greeting", "disclosure"), ladder=LADDER, urgent_ladder=URGENT_LADDER)
CHEST_PAIN = ev.UrgencyRaised(
    at_ns=0, level="nurse_now", category="chest", rank=50, clip="connecting_nurse", says_number=False
)
NOT_BREATHING = ev.UrgencyRaised(
    at_ns=0, level="emergency_now", category="breathing", rank=90, clip="emergency_breathing", says_number=True
)
CLASSIFIER_BROKE = ev.UrgencyRaised(
    at_ns=0, level="nurse_now", category="classifier_failed", rank=1, clip="nurse_will_talk", says_number=False
)

EXAMPLES: dict[type[ev.Event], ev.Event] = {
    ev.CallConnected: CONNECTED,
    ev.SpeechStarted: ev.SpeechStarted(at_ns=0),
    ev.SpeechDismissed: ev.SpeechDismissed(at_ns=0, why=Dismissal.COUGH),
    ev.SpeechUnclear: ev.SpeechUnclear(at_ns=0),
    ev.WordsHeard: ev.WordsHeard(at_ns=0),
    ev.TurnEnded: ev.TurnEnded(at_ns=0, turn=1),
    ev.UrgencyRaised: CHEST_PAIN,
    ev.NurseNeeded: ev.NurseNeeded(at_ns=0, reason=Reason.ASKED_PERSON),
    ev.WordlessVoiceHeard: ev.WordlessVoiceHeard(at_ns=0),
    ev.KeyPressed: ev.KeyPressed(at_ns=0, digit="0"),
    ev.HoldRequested: ev.HoldRequested(at_ns=0),
    ev.SentenceReady: ev.SentenceReady(at_ns=0, generation=1, index=0, text="Since when?"),
    ev.ReplyEnded: ev.ReplyEnded(at_ns=0, generation=1, sentences=1),
    ev.PlayoutStarted: ev.PlayoutStarted(at_ns=0, playback=1),
    ev.PlayoutFinished: ev.PlayoutFinished(at_ns=0, playback=1),
    ev.TimerFired: ev.TimerFired(at_ns=0, name=T.CALLER_SILENCE, token=1),
    ev.EffectFailed: ev.EffectFailed(at_ns=0, effect="Play", stage="clips"),
    ev.TransferAccepted: ev.TransferAccepted(at_ns=0, attempt=1),
    ev.TransferRinging: ev.TransferRinging(at_ns=0, attempt=1),
    ev.TransferAnswered: ev.TransferAnswered(at_ns=0, attempt=1, takes_caller=True),
    ev.TransferRefused: ev.TransferRefused(at_ns=0, attempt=1, code=486),
    ev.TransferTimedOut: ev.TransferTimedOut(at_ns=0, attempt=1),
    ev.TransferPending: ev.TransferPending(at_ns=0, attempt=1),
    ev.NurseAccepted: ev.NurseAccepted(at_ns=0, attempt=1),
    ev.NurseLegLost: ev.NurseLegLost(at_ns=0, attempt=1),
    ev.NurseFinished: ev.NurseFinished(at_ns=0),
    ev.HungUp: ev.HungUp(at_ns=0),
    ev.TailDrained: ev.TailDrained(at_ns=0),
}
