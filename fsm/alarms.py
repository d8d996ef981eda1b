"""Alarms the machine raises by itself; each is the name of a runbook, and raised once per call."""

HANDOFF_UNANSWERED = "nurse_handoff_unanswered"
"""No person within the deadline."""
NO_PERSON_SIGN = "nurse_no_person_sign"
"""The carrier took the caller into a queue, and nobody there says that they have them."""
URGENT_HANGUP = "urgent_hangup"
"""An urgent caller hung up before a nurse had them."""
URGENT_TAIL = "urgent_tail"
"""The last words of a call that had ended were urgent."""
AUDIT_STORE = "audit_store"
PACKET_UNDELIVERED = "packet_undelivered"
CALLBACK_LOST = "callback_lost"
"""A call-back task could not be opened: somebody must ring this caller and no list says so."""

ALL = (
    HANDOFF_UNANSWERED,
    NO_PERSON_SIGN,
    URGENT_HANGUP,
    URGENT_TAIL,
    AUDIT_STORE,
    PACKET_UNDELIVERED,
    CALLBACK_LOST,
)
