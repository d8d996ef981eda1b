"""Prompt ids the machine orders by itself. Texts and files are in `audio_assets/manifest.toml`; a test joins the two."""

from fsm.states import Reason

ACKNOWLEDGEMENT = "ack"
FILLER = "filler"
ARE_YOU_THERE = ("are_you_there_1", "are_you_there_2")
TAKE_YOUR_TIME = "take_your_time"
PRESS_ONE = "press_one"
CONNECTING = "connecting_nurse"
NEUTRAL = "nurse_will_talk"
STILL_CONNECTING = "still_connecting"
RECONNECTING = "reconnecting"
EMERGENCY_NUMBER = "emergency_number"
APOLOGY = "apology"
RESCUED = "rescued"

FOR_REASON: dict[Reason, str] = {
    Reason.CLASSIFIER_FAILED: NEUTRAL,
    Reason.ASKED_PERSON: CONNECTING,
    Reason.PRESSED_ZERO: CONNECTING,
    Reason.DECLINED_MACHINE: CONNECTING,
    Reason.DECLINED_RECORD: CONNECTING,
    Reason.SILENT: NEUTRAL,
    Reason.WORDLESS: NEUTRAL,
    Reason.CHILD_ALONE: "child_nurse",
    Reason.LANGUAGE: NEUTRAL,
    Reason.STAGE_FAILED: APOLOGY,
    Reason.NO_REPLY: APOLOGY,
    Reason.TOO_LONG: CONNECTING,
    Reason.RESCUED: RESCUED,
    Reason.DISPOSITION: CONNECTING,
}
"""The clip of every reason but URGENT, whose clip comes with the event."""
