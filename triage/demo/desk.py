"""The nurse desk of a scenario: its targets as rungs, its packets kept for the screen and the report."""

from collections.abc import Sequence

from fsm.events import Rung
from fsm.states import RungKind
from triage.demo.scenario import NurseSpec
from triage.ports import Packet


class ScenarioDesk:
    """A `NurseDesk` made from a scenario's nurses, in the order of its file."""

    def __init__(self, nurses: Sequence[NurseSpec]) -> None:
        self._rungs = tuple(
            Rung(
                kind=nurse.kind,
                target=nurse.target,
                declared=nurse.declared,
                answer_within_s=nurse.answer_within_s,
                gives_person_sign=nurse.gives_person_sign,
            )
            for nurse in nurses
        )
        self.packets: list[Packet] = []
        """Everything that was put on the desk, in order."""

    def ladder(self, *, urgent: bool, media_during_refer: bool) -> tuple[Rung, ...]:
        """Rungs in order; urgent ones dial first where the carrier silences us during a REFER."""
        if urgent and not media_during_refer:
            return tuple(sorted(self._rungs, key=lambda rung: rung.kind is RungKind.REFER))
        return self._rungs

    def offer(self, packet: Packet) -> None:
        """Keep the packet."""
        self.packets.append(packet)
