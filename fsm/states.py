"""The six states of a call, its phases, and why a call is handed over."""

from enum import StrEnum


class State(StrEnum):
    """Where the floor is. Anything finer is data in `Call`, never a seventh state."""

    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    INTERRUPT = "interrupt"
    HANDOFF = "handoff"


class Phase(StrEnum):
    """A call is new, then live, then ended; never back."""

    NEW = "new"
    LIVE = "live"
    ENDED = "ended"


class Reason(StrEnum):
    """Why a call goes to a nurse. The clip of each is in `fsm.prompts`."""

    URGENT = "urgent"  # an urgent assessment; the clip comes with the event
    CLASSIFIER_FAILED = "classifier_failed"
    ASKED_PERSON = "asked_person"
    PRESSED_ZERO = "pressed_zero"
    DECLINED_MACHINE = "declined_machine"
    DECLINED_RECORD = "declined_record"
    SILENT = "silent"
    WORDLESS = "wordless"
    CHILD_ALONE = "child_alone"
    LANGUAGE = "language"
    STAGE_FAILED = "stage_failed"
    NO_REPLY = "no_reply"  # we could not answer within 10 s
    TOO_LONG = "too_long"
    RESCUED = "rescued"  # a record of this call exists: its process died
    DISPOSITION = "disposition"  # the protocol's own rules end at a nurse


class RungKind(StrEnum):
    """How one rung of the hand-off ladder reaches a nurse."""

    REFER = "refer"  # SIP REFER: the carrier takes the caller, we are gone
    DIAL = "dial"  # we dial the nurse into the caller's room, held, accepted by key
    DESK = "desk"  # the nurse desk's browser


class Declared(StrEnum):
    """What the operator declares a target to be; decides what its 200 is worth."""

    PERSON = "person"
    QUEUE = "queue"
    UNKNOWN = "unknown"


class Dismissal(StrEnum):
    """Why a pause of our playout was for nothing."""

    COUGH = "cough"
    BACKCHANNEL = "backchannel"
    NOTHING = "nothing"
    ECHO = "echo"


class TimerName(StrEnum):
    """Every wait of the machine. Lengths are in `fsm.timers`."""

    OURS_ACK = "ours_ack"
    OURS_FILLER = "ours_filler"
    OURS_SCRIPTED = "ours_scripted"
    OURS_NURSE = "ours_nurse"
    CALLER_SILENCE = "caller_silence"
    PLAYOUT = "playout"
    CONFIRM = "confirm"
    TURN_OPEN = "turn_open"
    WORDLESS = "wordless"
    ATTEMPT = "attempt"
    LADDER_AGAIN = "ladder_again"
    PERSON_DEADLINE = "person_deadline"
    NUMBER_AGAIN = "number_again"
    STILL_CONNECTING = "still_connecting"
    PERSON_SIGN = "person_sign"
    CALL_TOO_LONG = "call_too_long"
    GOODBYE = "goodbye"
    DRAIN = "drain"
