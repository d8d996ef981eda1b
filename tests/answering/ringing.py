"""A call that rings, for a test: the room and the line are the tests' own, in virtual time."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.folder import AuditFolder
from audit.reader import OpenedRecord, Reader
from audit.store import SqliteStore
from tests.calls import leaves
from triage.answering import Place, Ready, carry
from triage.clips import ClipLibrary
from triage.clock import Clock, run
from triage.demo.patient import Patient
from triage.handoff.desk import FileDesk
from triage.lines.simulated import SimulatedLine
from triage.ports import ShownNumber

CLIPS = ClipLibrary.load("en", "us")
NUMBER, IDENTITY = "+15557654321", "sip_5afca772560f2d44"
NURSES = 'schema = 1\n[[target]]\nname = "queue"\nkind = "refer"\nuri = "sip:queue@nurses.example"\n'


@dataclass
class Participant:
    identity: str = IDENTITY
    attributes: dict[str, str] = field(default_factory=dict)


class RingingLine(SimulatedLine):
    """A simulated line that must be opened, and may break at each step."""

    def __init__(
        self,
        clock: Clock,
        *,
        breaks: Exception | None = None,
        patience_s: float = 3.0,
        answer: "Callable[[RingingLine], Awaitable[None]] | None" = None,
    ) -> None:
        """`answer` takes the place of `answered`."""
        super().__init__(clock, Patient([leaves(patience_s)]))
        self.steps: list[str] = []
        self.kept: list[bool] = []
        """Of every close, whether the caller was to be left standing."""
        self._breaks = breaks
        self._answer = answer

    async def open(self) -> None:
        self.steps.append("open")

    @property
    def closed(self) -> int:
        """How often it was closed."""
        return len(self.kept)

    async def connect(self) -> None:
        await (self._answer or RingingLine.answered)(self)

    async def answered(self) -> None:
        """The caller is there, or what is to break breaks."""
        if self._breaks is not None:
            raise self._breaks
        if "connect" not in self.steps:
            self.steps.append("connect")
            await super().connect()

    async def close(self, *, keep_caller: bool = False) -> None:
        self.kept.append(keep_caller)
        await super().close(keep_caller=keep_caller)


@dataclass
class World:
    """A process with everything loaded, and the room its job is for."""

    ready: Ready
    folder: Path
    participants: list[Participant] = field(default_factory=lambda: [Participant()])
    number: Callable[[], Awaitable[str]] | None = None
    enter: Callable[[], Awaitable[None]] | None = None
    rescue: Callable[[], Awaitable[None]] | None = None
    breaks: Exception | None = None
    patience_s: float = 3.0
    answer: Callable[[RingingLine], Awaitable[None]] | None = None
    lines: list[RingingLine] = field(default_factory=list)
    rescues: int = 0
    orphaned: bool = False

    def place(self, name: str = "call_+15550100_a") -> Place:
        async def line(identity: str, clock: Clock, desk: FileDesk) -> RingingLine:
            assert identity == IDENTITY
            made = RingingLine(clock, breaks=self.breaks, patience_s=self.patience_s, answer=self.answer)
            self.lines.append(made)
            return made

        async def number(identity: str) -> ShownNumber:
            return ShownNumber(await self.number() if self.number else NUMBER)

        async def enter() -> None:
            if self.enter:
                await self.enter()

        async def rescue() -> None:
            self.rescues += 1
            if self.rescue:
                await self.rescue()

        return Place(
            name=name,
            enter=enter,
            callers=lambda: self.participants,
            line=line,
            number=number,
            gone=lambda: False,
            rescue=rescue,
            orphaned=lambda: self.orphaned,
        )

    def carry(self, name: str = "call_+15550100_a", **more: Any) -> str:
        async def job() -> str:
            return await carry(self.ready, self.place(name), **more)

        return run(job(), virtual=True)

    def records(self) -> list[list[OpenedRecord]]:
        """Of every call, the oldest first."""
        folder = AuditFolder(self.folder)
        with closing(SqliteStore(folder.database)) as store:
            reader = Reader(store, folder.keyring(), who="test", purpose="test", spool=folder.spool)
            return [list(reader.records(listed.call, at_ns=1)) for listed in Reader(store).calls()]


Make = Callable[..., World]
"""A world with these settings, beside those of a bench."""


def payloads(records: Sequence[OpenedRecord], stage: str) -> list[Any]:
    return [record.content.payload for record in records if record.content.stage == stage]


def prompts(records: Sequence[OpenedRecord]) -> str:
    return " ".join(str(payload["prompt"]) for payload in payloads(records, "playout"))
