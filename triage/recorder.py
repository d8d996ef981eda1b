"""Writes one call down: finals, verdicts, Steps, what was sent to be spoken, what was audible.

Everything goes through `audit`'s segment writer, which seals at once and makes durable from its own thread. Nothing here
blocks or raises: a record that cannot be made is counted, and the call goes on (P1 before P4, and the pager rings).
A caller who declined the record is still judged; the record then holds `text_withheld` with hash and length instead.
"""

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import Any, Protocol

from audit.records import Stage
from audit.trouble import Trouble
from classifiers.assessment import Assessment
from fsm.machine import Step
from triage.ports import Receipt, Transcript

NOTE_FINDING = "note_finding"
"""Name of the tool record that holds one answer of the interview."""
VERSION = 1
"""Version of the payloads written here."""


class Writer(Protocol):
    """One segment of one call's chain."""

    def append(
        self, stage: Stage, payload: Mapping[str, Any], *, turn: int, monotonic_ns: int, wall_ns: int
    ) -> Receipt:
        """Seal and queue one record."""
        ...


class Recorder:
    """The pen of one call."""

    def __init__(self, writer: Writer, *, now_ns: Callable[[], int], wall_ns: Callable[[], int]) -> None:
        self._writer, self._now_ns, self._wall_ns = writer, now_ns, wall_ns
        self.turn = 0
        self.written: dict[str, int] = {}
        """Records by stage."""
        self.failed = 0
        """Records that could not be made."""
        self.withhold = False
        """The caller declined the record: their words stay out of it."""

    def write(self, stage: Stage, payload: Mapping[str, Any], *, turn: int | None = None) -> Receipt:
        """Write one record; the receipt tells when it is durable. Never raises."""
        try:
            receipt = self._writer.append(
                stage,
                {"v": VERSION, **payload},
                turn=self.turn if turn is None else turn,
                monotonic_ns=self._now_ns(),
                wall_ns=self._wall_ns(),
            )
        except Exception:  # a record that cannot be made is counted; the call goes on
            self.failed += 1
            return _NOT_WRITTEN
        self.written[stage.value] = self.written.get(stage.value, 0) + 1
        return receipt

    def step(self, step: Step) -> Receipt:
        """One decision of the machine: event, effects, and a hash of the state that came after."""
        after = plain(step.after)
        return self.write(
            Stage.STEP,
            {
                "before": step.before.state.value,
                "event": self._without_words(plain(step.event)),
                "after": step.after.state.value,
                "after_sha256": hashlib.sha256(repr(sorted(after.items())).encode()).hexdigest(),
                "effects": [plain(effect) for effect in step.effects],
            },
        )

    def heard(self, transcript: Transcript, *, turn: int, promoted: bool) -> None:
        """One final, as the recogniser returned it."""
        self.turn = turn
        words = [[w.text, _ppm(w.confidence), w.start, w.end] for w in transcript.words]
        if self.withhold:
            words = [["", confidence, start, end] for _, confidence, start, end in words]
        self.write(
            Stage.STT_FINAL,
            {
                "utterance": transcript.utterance,
                **self._text(transcript.text),
                "words": words,
                "start": transcript.start,
                "end": transcript.end,
                "promoted": promoted,
            },
            turn=turn,
        )

    def assessed(self, kind: str, text: str, assessment: Assessment, *, turn: int, suppressed: str) -> None:
        """One verdict with its evidence."""
        evidence = [[e.start, e.end, "" if self.withhold else e.text] for e in assessment.evidence]
        self.write(
            Stage.ASSESSMENT,
            {
                "kind": kind,
                **(self._text(text) if kind == "stretch" else {}),
                "level": assessment.level.value,
                "category": assessment.category.value,
                "score_ppm": _ppm(assessment.score),
                "evidence": evidence,
                "rule": assessment.rule,
                "versions": dict(assessment.versions),
                "language": assessment.language,
                "suppressed": suppressed,
            },
            turn=turn,
        )

    def answer(self, slot: str, value: str, text: str, status: str, *, turn: int) -> None:
        """One thing that the interview learned, and from which words."""
        if self.withhold:
            value, text = ("unknown" if value == "unknown" else "withheld"), ""
        self.write(
            Stage.TOOL, {"name": NOTE_FINDING, "slot": slot, "value": value, "text": text, "status": status}, turn=turn
        )

    def note_error(self, where: str, code: str) -> None:
        """Something broke, in fixed wording."""
        self.write(Stage.ERROR, {"where": where, "code": code})

    def _text(self, text: str) -> dict[str, Any]:
        if not self.withhold:
            return {"text": text}
        return {"text_withheld": {"sha256": hashlib.sha256(text.encode()).hexdigest(), "length": len(text)}}

    def _without_words(self, event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "text": ""} if self.withhold and "text" in event else event


class StoreAlarm:
    """Hands what troubles the writer to every call that lives; the writer's threads report, each call's loop is told."""

    def __init__(self) -> None:
        self._told: list[Callable[[Trouble], None]] = []

    def __call__(self, trouble: Trouble) -> None:
        """For the writer: report one trouble, from any thread."""
        for tell in tuple(self._told):
            tell(trouble)

    @contextmanager
    def watching(self, tell: Callable[[Trouble], None]) -> Iterator[None]:
        """Tell this call, in its own loop, for as long as the block lasts."""
        loop = asyncio.get_running_loop()

        def hand_over(trouble: Trouble) -> None:
            try:
                loop.call_soon_threadsafe(tell, trouble)
            except RuntimeError:  # its loop is closed: the call is over
                return

        self._told.append(hand_over)
        try:
            yield
        finally:
            self._told.remove(hand_over)


class _NotWritten:
    """The receipt of a record that could not be made: nothing to wait for."""

    def done(self) -> bool:
        return True

    async def wait(self) -> None:
        return None


_NOT_WRITTEN = _NotWritten()


_AS_IT_IS = frozenset({str, int, bool, type(None)})


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def plain(thing: Any) -> Any:
    """`thing` as canonical data: dataclasses by name, enums by value, seconds as nanoseconds, shares as millionths."""
    kind = type(thing)
    if kind in _AS_IT_IS:
        return thing
    if dataclasses.is_dataclass(kind):
        return {"type": kind.__name__, **dict(_field(name, getattr(thing, name)) for name in _names(kind))}
    if isinstance(thing, Enum):
        return thing.value
    if isinstance(thing, Mapping):
        return dict(_field(str(name), value) for name, value in thing.items())
    if isinstance(thing, tuple | list | frozenset):
        return [plain(part) for part in thing]
    if isinstance(thing, float):
        return _ppm(thing)
    return thing


def _field(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, float):
        if name.endswith("_s") or name == "seconds":
            return (name.removesuffix("_s").removesuffix("seconds") or "duration").rstrip("_") + "_ns", int(value * 1e9)
        return f"{name}_ppm", _ppm(value)
    return name, plain(value)


def _ppm(share: float | None) -> int | None:
    return None if share is None else round(share * 1_000_000)
