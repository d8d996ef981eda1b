"""Words of a LiveKit room with telephones in it, as plain values: nothing here needs the SDK."""

STATUS = "sip.callStatus"
"""Attribute of a telephone's participant."""
RINGING, ACTIVE, HANGUP = "ringing", "active", "hangup"
"""Values of it that matter here."""
RULE = "sip.ruleID"
"""Attribute of those who came in by a dispatch rule; the nurses that we dial have it not."""
NURSE = "nurse_"
"""Identities of the legs that we dial begin with this; the number of the attempt follows, and the series where somebody was here before us."""
BRIDGED = "triage.bridged"
"""Attribute that a nurse's leg gets from us when it talks to the caller; whoever enters the room then leaves them alone."""
SIP, AGENT = 3, 4
"""rtc.ParticipantKind of telephones, and of programs like ours; who is not one of us may listen."""
LEFT = frozenset({1, 4, 5, 10, 11, 12, 13})
"""rtc.DisconnectReason of those who left or were put out (client, removed, room deleted or closed, SIP), not cut off."""
