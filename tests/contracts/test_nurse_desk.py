"""Promise: every nurse desk gives its rungs in order, dials before it refers when it must, and takes any packet quietly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fsm.states import Declared, RungKind
from tests.handoff.test_desk import PACKET
from triage.handoff.desk import FileDesk
from triage.ports import NurseDesk, Packet

KINDS = (RungKind.REFER, RungKind.DIAL, RungKind.DESK)


def from_file(folder: Path) -> NurseDesk:
    rows = [
        f'[[target]]\nname = "t{n}"\nkind = "{kind.value}"\ndeclared = "person"\nuri = "sip:t{n}@nurses.example"\n'
        for n, kind in enumerate(KINDS)
    ]
    path = folder / "nurses.toml"
    path.write_text("schema = 1\n" + "\n".join(rows), encoding="utf-8")
    return FileDesk.load(path)


DESKS: dict[str, Callable[[Path], NurseDesk]] = {"file": from_file}


@pytest.mark.parametrize("make", DESKS.values(), ids=DESKS)
class TestNurseDesk:
    def test_rungs_come_in_the_operators_order(self, make: Callable[[Path], NurseDesk], tmp_path: Path) -> None:
        desk = make(tmp_path)
        for urgent, during in ((False, True), (False, False), (True, True)):
            assert [rung.kind for rung in desk.ladder(urgent=urgent, media_during_refer=during)] == list(KINDS)

    def test_urgent_calls_are_dialled_where_a_refer_silences_us(
        self, make: Callable[[Path], NurseDesk], tmp_path: Path
    ) -> None:
        rungs = make(tmp_path).ladder(urgent=True, media_during_refer=False)
        assert [rung.kind for rung in rungs] == [RungKind.DIAL, RungKind.DESK]

    def test_rungs_are_opaque_and_limited(self, make: Callable[[Path], NurseDesk], tmp_path: Path) -> None:
        for rung in make(tmp_path).ladder(urgent=True, media_during_refer=True):
            assert rung.target in ("t0", "t1", "t2")
            assert 1.0 <= rung.answer_within_s <= 60.0
            assert rung.declared is Declared.PERSON

    def test_a_packet_is_taken_again_when_renewed_and_never_raises(
        self, make: Callable[[Path], NurseDesk], tmp_path: Path
    ) -> None:
        desk = make(tmp_path)
        for packet in (PACKET, replace(PACKET, version=2), PACKET, replace(PACKET, code="", situation={})):
            desk.offer(packet)


def test_packets_are_what_the_contract_says() -> None:
    assert isinstance(PACKET, Packet)
