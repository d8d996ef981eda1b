"""One call's nurse side: the packet, the hand-off clock, call-back tasks. Signalling is the line's, deciding the machine's."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from audit.chain import SegmentWriter, callback_task
from audit.records import Stage
from classifiers.assessment import Known
from fsm import effects as fx
from fsm import events as ev
from fsm.states import State
from triage.clock import NS, Clock
from triage.handoff.clock import HandoffTimes, Mark, Source
from triage.handoff.packet import NOT_ASKED, UNKNOWN, Learned, make_packet, new_code
from triage.handoff.post import UNDELIVERED, Delivery, Post
from triage.listening import Listening
from triage.ports import LineSignal, NurseDesk, Packet, SignalKind, ToolResult
from triage.recorder import Recorder, plain
from triage.trace import CallbackOpened, HandoffClock, Measured, PacketMade, StepTaken, Trace

_MARKS = {
    SignalKind.ACCEPTED: Mark.REFER_ACCEPTED,
    SignalKind.RINGING: Mark.RINGING,
    SignalKind.ANSWERED: Mark.ANSWERED,
    SignalKind.NURSE_KEY: Mark.PERSON,
}
WITHHELD = "withheld"
"""Stands on record for what a packet quotes of a caller who declined it."""
LONGEST_NUMBER = 40
"""Signs kept of a number; the header it comes from is written by others."""
_SOURCES = {"carrier": Source.CARRIER, "desk": Source.DESK}


class NurseSide:
    """Fulfils `runtime.Nursing`; also an observer of the call's own traces."""

    def __init__(
        self,
        *,
        call_id: str,
        desk: NurseDesk,
        recorder: Recorder,
        segment: SegmentWriter,
        clock: Clock,
        known: Callable[[], Known],
        answers: Callable[[], Iterable[Learned]],
        listening: Listening,
        observe: Callable[[Trace], None],
        tell: Callable[[ev.Event], None],
        post: Post | None = None,
    ) -> None:
        """`post` takes packets out of this process; without it they are on the desk only."""
        self._tell, self._post = tell, post
        self._pending: set[tuple[str, int]] = set()
        """Deliveries under way: place and version."""
        self._call_id, self._desk, self._recorder, self._segment = call_id, desk, recorder, segment
        self._clock, self._known, self._answers = clock, known, answers
        self._listening, self._observe = listening, observe
        self.code = new_code()
        """Opaque; travels in a SIP header and opens the packet when a nurse claims it."""
        self.times = HandoffTimes()
        self.booked = False
        """A call-back was booked with the caller."""
        self._told: list[str] = []
        self._tools: dict[str, ToolResult] = {}
        self._order: fx.SendPacket | None = None
        self._number: str | None = None
        """As the network shows it; None: not told yet."""
        self._number_withheld = False
        self._version = 0
        self._callbacks = 0

    # --- what the runtime orders

    def send_packet(self, order: fx.SendPacket) -> None:
        """Make or renew the packet and put it on the desk."""
        self._order = order
        self._version += 1
        assessment, words, turn = self._listening.gravest or (None, *self._listening.last_words)
        packet = make_packet(
            call_id=self._call_id,
            code=self.code,
            known=self._known(),
            reason=order.reason,
            level=order.level,
            category=order.category,
            rank=order.rank,
            assessment=assessment,
            words=words,
            turn=turn,
            told=tuple(self._told),
            tools=self._tools,
            answers=self._answers(),
            network_number=self._number,
            number_withheld=self._number_withheld,
            language=self._listening.language if words else "",
            made_ns=self._clock.wall_ns(),
            version=self._version,
        )
        packet = replace(packet, declined=self._recorder.withhold)
        self._desk.offer(packet)
        self._deliver(packet)
        written = self._without_words(packet) if packet.declined else packet
        self._recorder.write(
            Stage.HANDOFF, {"event": "packet", "version": packet.version, "packet": plain(replace(written, code=""))}
        )
        self._observe(PacketMade(at_ns=self._clock.now_ns(), packet=packet))

    def _deliver(self, packet: Packet) -> None:
        if self._post is None:
            return
        loop = asyncio.get_running_loop()

        def report(delivery: Delivery) -> None:
            try:
                loop.call_soon_threadsafe(self._delivered, delivery)
            except RuntimeError:  # the loop is closed: the call is over, and its record said `pending`
                return

        self._pending |= {(place.name, packet.version) for place in self._post.places}
        self._post.offer(packet, wall_ns=self._clock.wall_ns, report=report)

    def _delivered(self, delivery: Delivery) -> None:
        """Write down what became of a packet; one that a place did not take wakes somebody."""
        if self._segment.finished:
            return
        self._pending.discard((delivery.place, delivery.version))
        self._recorder.write(Stage.HANDOFF, {"event": "packet_posted", **plain(delivery)})
        if delivery.outcome == UNDELIVERED:
            self._tell(ev.EffectFailed(at_ns=self._clock.now_ns(), effect="SendPacket", stage="desk"))

    def finish(self) -> None:
        """The record is about to end: say which deliveries nothing is known of yet. They go on."""
        for place, version in sorted(self._pending):
            self._recorder.write(
                Stage.HANDOFF, {"event": "packet_posted", "place": place, "version": version, "outcome": "pending"}
            )

    @staticmethod
    def _without_words(packet: Packet) -> Packet:
        """The packet of a caller who declined the record: the nurse reads their words, the record does not hold them."""

        def withheld(part: Mapping[str, str]) -> dict[str, str]:
            return {name: text if text in (NOT_ASKED, UNKNOWN) else WITHHELD for name, text in part.items()}

        return replace(
            packet,
            situation=withheld(packet.situation),
            background=withheld(packet.background),
            assessment=withheld(packet.assessment),
        )

    def note_number(self, number: str, *, withheld: bool = False) -> None:
        """What the network shows of the caller; empty when there is none. Goes into the record and the packet only.

        `withheld`: they asked that nobody be shown it. It is said so wherever it stands, and the webhook never has it.

        It stands on record of a caller who declined it too: it is none of their words, the line had it before they could
        decline, and nobody could ring them back without it. A call-back task, which lies in clear, points at the record.
        """
        number = "".join(sign for sign in number if sign.isascii() and (sign.isalnum() or sign in "+*#._-"))
        number = number[:LONGEST_NUMBER]
        if number == self._number:
            return
        self._number, self._number_withheld = number, withheld and bool(number)
        shown: dict[str, str | bool] = {"number": number} if number else {}
        if self._number_withheld:
            shown["withheld"] = True
        self._recorder.write(Stage.CALL, {"event": "caller_number", "source": "network", **shown}, turn=0)
        self._renew()

    def told(self, prompts: tuple[str, ...]) -> None:
        """The caller is being told this; it stands in the packet."""
        self._told.extend(prompts)

    def open_callback(self, order: fx.OpenCallback) -> None:
        """A durable task: somebody must ring this caller."""
        wall_ns = self._clock.wall_ns()
        task = callback_task(
            self._call_id,
            reason=order.reason.value,
            level=order.level,
            opened_ns=wall_ns,
            due_ns=wall_ns + order.within_s * NS,
            ordinal=self._callbacks,
        )
        self._callbacks += 1
        self._segment.append(
            Stage.HANDOFF,
            {"event": "callback", "reason": order.reason.value, "level": order.level, "within_ns": order.within_s * NS},
            turn=self._listening.turn,
            monotonic_ns=self._clock.now_ns(),
            wall_ns=wall_ns,
            also=[task],
        )
        self._observe(
            CallbackOpened(
                at_ns=self._clock.now_ns(), reason=order.reason.value, level=order.level, within_s=order.within_s
            )
        )

    def sent(self, order: fx.Transfer, at_ns: int) -> None:
        """A transfer was asked for."""
        self._mark(Mark.REFER_SENT, at_ns, Source.OWN_CLOCK, order.attempt)

    def follow(self, signal: LineSignal, at_ns: int) -> None:
        """Mark what the line reports; a signal that is no mark is written down all the same."""
        if signal.attempt:
            self._recorder.write(
                Stage.HANDOFF,
                {"event": signal.kind.value, "attempt": signal.attempt, "value": signal.value, "source": signal.source},
            )
        if (mark := _MARKS.get(signal.kind)) is not None:
            self._mark(mark, at_ns, _SOURCES.get(signal.source, Source.OWN_CLOCK), signal.attempt)

    def tool_done(self, name: str, result: ToolResult) -> None:
        """A tool's result; of one that ran on detached the nurse hears by a renewed packet."""
        self._tools[name] = result
        self.booked = self.booked or (name == "book_callback" and result.ok)
        self._renew()

    def _renew(self) -> None:
        """Make the packet of a hand-off under way anew, with what has come to be known."""
        if self._order is not None:
            try:
                self.send_packet(self._order)
            except Exception as error:  # the nurse has the packet before it
                self._recorder.note_error("packet", type(error).__name__)

    # --- what it sees

    def observe_step(self, trace: Trace) -> None:
        """Take one trace of the own call."""
        if not isinstance(trace, StepTaken):
            return
        step = trace.step
        if step.after.state is State.HANDOFF and isinstance(step.event, ev.PlayoutStarted):
            self._mark(Mark.CLIP_AUDIBLE, step.event.at_ns, Source.OWN_CLOCK, 0)
        became_urgent = step.after.handoff.urgent and not step.before.handoff.urgent
        if isinstance(step.event, ev.UrgencyRaised) and became_urgent and step.after.state is State.HANDOFF:
            self._begin(step.event.at_ns)

    def _begin(self, final_ns: int) -> None:
        """The urgent final starts the clock; its assessment is part of the same instant's work."""
        self._mark(Mark.WORD_END, self._listening.word_end_ns(self._listening.turn), Source.OWN_CLOCK, 0)
        self._mark(Mark.FINAL, final_ns, Source.OWN_CLOCK, 0)
        self._mark(Mark.ASSESSED, self._clock.now_ns(), Source.OWN_CLOCK, 0)

    def _mark(self, mark: Mark, at_ns: int, source: Source, attempt: int) -> None:
        """Write down and show every mark, of every attempt; the figures count from the first of each."""
        if mark is Mark.CLIP_AUDIBLE and self.times.get(mark) is not None:
            return  # a later clip of the same wait
        first = self.times.mark(mark, at_ns, source)
        self._recorder.write(
            Stage.HANDOFF, {"event": mark.value, "at_ns": at_ns, "source": source.value, "attempt": attempt}
        )
        self._observe(HandoffClock(at_ns=at_ns, mark=mark.value, source=source.value, attempt=attempt))
        for name, ms in (("nurse_handoff", self.times.handoff_ms), ("nurse_person", self.times.person_ms)):
            ends = Mark.ANSWERED if name == "nurse_handoff" else Mark.PERSON
            if first and mark is ends and ms is not None:
                self._observe(Measured(at_ns=at_ns, name=name, ms=ms))
