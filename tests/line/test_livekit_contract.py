"""Promise: the line over LiveKit keeps what every line promises, with a room and telephones in virtual time."""

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from fsm.states import RungKind
from tests.contracts.test_line import LineContract
from tests.line.fake_rooms import CALLER, Telephone, World
from triage.lines.livekit.line import LiveKitLine
from triage.ports import Line, SignalKind

TELEPHONES = {
    "answers": Telephone(key_s=1.0),
    "busy": Telephone(rings_s=None, answers_s=0.1, refuses=486),
    "refuses": Telephone(refuses=603),
    "unavailable": Telephone(rings_s=None, answers_s=0.05, refuses=503),
    "rings_out": Telephone(answers_s=None),
    "silent": Telephone(answers_s=None, rings_s=None),
    "voicemail": Telephone(answers_s=0.5),
    "drops": Telephone(key_s=1.0, drops_s=1.0),
}


class TestLiveKitLine(LineContract):
    kinds = (RungKind.DIAL,)
    untold = frozenset(
        {
            (RungKind.REFER, SignalKind.ACCEPTED),
            (RungKind.REFER, SignalKind.RINGING),
            (RungKind.DIAL, SignalKind.ACCEPTED),
        }
    )
    early_s = 1.0  # the SIP service's own limit lies a second before ours

    def make(self, *, presses: bool = False, hangs_up_s: float | None = None) -> Line:
        return World(TELEPHONES, presses=presses, hangs_up_s=hangs_up_s).line

    def caller_is_there(self, line: Line) -> bool:
        assert isinstance(line, LiveKitLine)
        return CALLER in line._room.remote_participants

    async def up(self, line: Line) -> None:
        assert isinstance(line, LiveKitLine)
        await line.open()
        await line.connect()
