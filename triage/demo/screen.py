"""The live view of a call: what the observers are told, as lines that scroll and a footer that stands.

On a terminal the footer shows state, interim, what is being said, latencies and the hand-off clock; in a pipe or a dumb
terminal there are the lines only, without control codes. Traces are queued by the call's loop and drawn by a thread of
the screen's own, so that drawing costs the call nothing but its share of the interpreter.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from classifiers.assessment import Evidence
from fsm import effects as fx
from fsm.states import Phase, State
from triage.ports import Packet
from triage.trace import (
    Assessed,
    CallbackOpened,
    CallClosed,
    HandoffClock,
    Heard,
    Measured,
    Noted,
    PacketMade,
    Paged,
    Said,
    StepTaken,
    Trace,
)

REDRAW_S = 0.1
"""The footer is redrawn at most this often."""
GATHER_S = 0.03
"""What comes within so short a time is one moment: it is shown in reading order, not in the order of the work."""
LABEL = 18
"""Columns of time and label before the text of a line."""
SHOWN = (
    "end_of_turn",
    "stt_final",
    "reply",
    "tts",
    "first_sound",
    "turn_taking",
    "barge_in_pause",
    "barge_in_stop",
    "clip_audible",
    "refer_sent",
    "nurse_handoff",
)
"""Latencies that are shown while the call runs; the report has all."""
LATEST = 3
"""So many of them fit into the footer of a narrow terminal."""

STATE_STYLE = {
    State.IDLE: "dim",
    State.LISTENING: "green",
    State.THINKING: "yellow",
    State.SPEAKING: "cyan",
    State.INTERRUPT: "magenta",
    State.HANDOFF: "bold red",
}
LEVEL_STYLE = {"emergency_now": "bold white on red", "nurse_now": "bold red", "nurse_soon": "yellow", "routine": "dim"}


class Screen:
    """Observer that shows one call."""

    def __init__(
        self,
        title: str,
        *,
        recogniser: str,
        texts: Mapping[str, str],
        console: Console,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        """`texts`: wording by prompt id. `now_ns`: the call's clock, for the running hand-off clock."""
        self.console = console
        self.live = console.is_terminal and not console.is_dumb_terminal
        self._title = title
        self._recogniser = recogniser
        self._texts = texts
        self._now_ns = now_ns
        self._traces: queue.SimpleQueue[Trace | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._first_ns: int | None = None
        self._last_ns = 0
        self._state = State.IDLE
        self._turn = 0
        self._interim = ""
        self._saying = ""
        self._latencies: dict[str, float] = {}
        self._handoff_from: int | None = None
        self._handoff_to: int | None = None
        self._mark = ""

    # --- the call's side

    def observe(self, trace: Trace) -> None:
        """Take one trace; returns at once."""
        self._traces.put(trace)

    # --- the terminal's side

    def start(self) -> None:
        """Begin to draw."""
        self.console.print(self._heading())
        self._thread = threading.Thread(target=self._draw, name="screen", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Draw what is left and end; idempotent."""
        if self._thread is not None:
            self._stopping.set()
            self._traces.put(None)
            self._thread.join(timeout=5)
            self._thread = None

    def lines(self, trace: Trace) -> Iterator[RenderableType]:
        """Take one trace in, and give the lines that scroll because of it."""
        if self._first_ns is None:
            self._first_ns = trace.at_ns
        self._last_ns = max(self._last_ns, trace.at_ns)
        match trace:
            case StepTaken():
                yield from self._step(trace)
            case Heard():
                yield from self._heard(trace)
            case Assessed():
                yield self._assessed(trace)
            case Said():
                self._saying = ""
                yield self._said(trace)
            case Measured():
                self._latencies.pop(trace.name, None)
                self._latencies[trace.name] = trace.ms
                if not self.live and trace.name in SHOWN:
                    yield self._line(trace, "measured", Text(f"{trace.name} {trace.ms:.0f} ms", style="dim"))
            case HandoffClock():
                yield self._clock(trace)
            case PacketMade():
                yield self._packet(trace)
            case Paged():
                yield self._line(
                    trace, "pager", Text(f"alarm {trace.alarm} (runbooks/{trace.alarm}.md)", style="bold red")
                )
            case CallbackOpened():
                words = f"{trace.level or 'no level'}, {trace.reason}; somebody rings within {_minutes(trace.within_s)}"
                yield self._line(trace, "call-back", Text(words, style="yellow"))
            case Noted():
                yield self._line(trace, "note", Text(trace.text, style="dim"))
            case CallClosed():
                counted = ", ".join(f"{number} {name}" for name, number in trace.counts.items())
                yield self._line(
                    trace, "sealed", Text(f"{trace.outcome} ({counted})" if counted else trace.outcome, "bold")
                )
            case _:
                pass

    def footer(self) -> RenderableType:
        """What stands below the lines on a terminal."""
        now = self._last_ns if self._now_ns is None else max(self._last_ns, self._now_ns())
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=9, style="dim", justify="right")
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        state = Text(self._state.value.upper(), style=STATE_STYLE[self._state])
        state.append(f"   turn {self._turn}   {self._time(now)}", style="dim")
        table.add_row("state", state)
        table.add_row("hears", Text(self._interim[-(self.console.width - 12) :], style="bright_black"))
        table.add_row("says", Text(self._saying, style="cyan"))
        shown = [f"{name} {ms:.0f}" for name, ms in self._latencies.items() if name in SHOWN]
        table.add_row("ms", Text(" · ".join(shown[-LATEST:]), style="dim"))
        table.add_row("hand-off", self._running_clock(now))
        return Group(Rule(f"{self._title} · {self._recogniser}", style="dim"), table)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.footer()

    # --- drawing

    def _draw(self) -> None:
        if not self.live:
            while self._print_some(None):
                pass
            return
        with Live(self, console=self.console, auto_refresh=False, transient=True) as live:
            while self._print_some(REDRAW_S):
                live.refresh()

    def _print_some(self, patience_s: float | None) -> bool:
        """Print what has come, in the order a reader wants; False when the end was among it."""
        try:
            come = [self._traces.get(timeout=patience_s)]
        except queue.Empty:
            return True
        if come[0] is not None:
            self._stopping.wait(GATHER_S)
        with suppress(queue.Empty):
            while come[-1] is not None:
                come.append(self._traces.get_nowait())
        traces = [trace for trace in come if trace is not None]
        for trace in sorted(traces, key=_reading_order):
            self._print(trace)
        return come[-1] is not None

    def _print(self, trace: Trace) -> None:
        for line in self.lines(trace):
            self.console.print(line)

    def _heading(self) -> RenderableType:
        return (
            Rule(f"{self._title} · recogniser: {self._recogniser}")
            if self.live
            else Text(f"{self._title} (recogniser: {self._recogniser})")
        )

    def _time(self, at_ns: int) -> str:
        tenths = max(0, at_ns - (at_ns if self._first_ns is None else self._first_ns)) // 100_000_000
        return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"

    def _line(self, trace: Trace, label: str, text: Text) -> RenderableType:
        """Time, label, text; long text goes on below itself."""
        head = Text(f"{self._time(trace.at_ns):>7} ", style="dim")
        head.append(f"{label:<{LABEL - 8}}", style="dim")
        wrapped = text.wrap(self.console, max(20, self.console.width - LABEL))
        for number, part in enumerate(wrapped):
            part.rstrip()
            if number:
                head.append("\n" + " " * LABEL)
            head.append_text(part)
        return head

    def _step(self, trace: StepTaken) -> Iterator[RenderableType]:
        step = trace.step
        self._state, self._turn = step.after.state, step.after.turn
        for effect in step.effects:
            match effect:
                case fx.Play():
                    self._saying = " ".join(self._texts.get(prompt, f"<{prompt}>") for prompt in effect.prompts)
                case fx.Speak():
                    self._saying = effect.text
                case fx.FlushPlayout():
                    self._saying = ""
                case _:
                    pass
        if step.before.state is not step.after.state:
            words = Text(f"{step.before.state.value} → {step.after.state.value}", style=STATE_STYLE[step.after.state])
            words.append(f"  {_snake(type(step.event).__name__)}", style="dim")
            yield self._line(trace, "state", words)
        if step.before.phase is Phase.LIVE and step.after.phase is Phase.ENDED:
            yield self._line(trace, "call", Text("ended", style="bold"))

    def _heard(self, trace: Heard) -> Iterator[RenderableType]:
        transcript = trace.transcript
        if not transcript.final:
            self._interim = transcript.text
            return
        self._interim = ""
        if transcript.text:
            yield self._line(trace, "caller", Text(transcript.text, style="bold"))

    def _assessed(self, trace: Assessed) -> RenderableType:
        found = trace.assessment
        words = Text(found.level.value, style=LEVEL_STYLE[found.level.value])
        if found.rule:
            words.append(f" · {found.category.value} · {found.rule}")
        if trace.suppressed:
            words.append(f" · not raised: {trace.suppressed}", style="yellow")
        words.append(f" · {trace.kind}, {trace.took_us / 1000:.1f} ms", style="dim")
        if found.evidence:
            words.append("\n")
            words.append_text(highlighted(trace.text, found.evidence, marks=not self.live))
        return self._line(trace, "judged", words)

    def _said(self, trace: Said) -> RenderableType:
        words = Text(trace.text, style="cyan")
        if trace.cut_off:
            rest = trace.ordered[len(trace.text) :].strip() if trace.ordered.startswith(trace.text) else ""
            words.append(" [cut off" if not rest else " [cut off: ", style="magenta")
            words.append(rest, style="dim strike" if self.live else "dim")
            words.append("]", style="magenta")
        return self._line(trace, "agent", words)

    def _clock(self, trace: HandoffClock) -> RenderableType:
        if trace.mark == "t_final" and self._handoff_from is None:
            self._handoff_from = trace.at_ns
        if trace.mark == "t_answered" and self._handoff_to is None:
            self._handoff_to = trace.at_ns
        self._mark = trace.mark.removeprefix("t_")
        words = Text(self._mark, style="bold red")
        if self._handoff_from is not None:
            words.append(f"  {(trace.at_ns - self._handoff_from) / 1e6:+.0f} ms from the final")
        words.append(f"  ({trace.source}{f', attempt {trace.attempt}' if trace.attempt else ''})", style="dim")
        return self._line(trace, "hand-off", words)

    def _running_clock(self, now: int) -> Text:
        if self._handoff_from is None:
            return Text("")
        end = now if self._handoff_to is None else self._handoff_to
        seconds = (end - self._handoff_from) / 1e9
        style = "bold red" if seconds > 3 else "bold green"
        return Text(f"{seconds:4.1f} s  ", style=style).append(self._mark, style="dim")

    def _packet(self, trace: PacketMade) -> RenderableType:
        packet = trace.packet
        title = f"nurse packet {packet.version}: {packet.level or 'no level'} · {packet.category or packet.reason}"
        if self.live:
            return Panel(packet_rows(packet), title=title, border_style="red", width=min(self.console.width, 100))
        rows = [self._line(trace, "packet", Text(title))]
        for name, part in _parts(packet):
            for key, value in part.items():
                rows.append(self._line(trace, f"  {name[0]}", Text(f"{key}: {value}")))
        return Group(*rows)


def _reading_order(trace: Trace) -> tuple[int, int, int]:
    """Within one moment: what was heard, the verdict on it, the decision, then everything that came of it."""
    rank = {Heard: 0, Assessed: 1, StepTaken: 2, CallClosed: 9}.get(type(trace), 5)
    return trace.at_ns // round(GATHER_S * 1e9), rank, trace.at_ns


def packet_rows(packet: Packet) -> RenderableType:
    """The four parts of SBAR as a table."""
    table = Table.grid(padding=(0, 1))
    table.add_column(style="bold", width=14)
    table.add_column(ratio=1)
    for name, part in _parts(packet):
        table.add_row(name, "\n".join(f"{key}: {value}" for key, value in part.items()) or "-")
    return table


def highlighted(text: str, evidence: tuple[Evidence, ...], *, marks: bool) -> Text:
    """The judged text with its evidence standing out; with `marks`, also in brackets, for terminals without colour."""
    spans = sorted({(e.start, e.end) for e in evidence if 0 <= e.start < e.end <= len(text)})
    words, reached = Text(), 0
    for start, end in spans:
        if start < reached:  # overlaps the one before
            start = reached
        if start >= end:
            continue
        words.append(text[reached:start], style="dim")
        words.append(f"[{text[start:end]}]" if marks else text[start:end], style="bold red")
        reached = end
    return words.append(text[reached:], style="dim")


def _parts(packet: Packet) -> tuple[tuple[str, Mapping[str, str]], ...]:
    return (
        ("Situation", packet.situation),
        ("Background", packet.background),
        ("Assessment", packet.assessment),
        ("Recommendation", packet.recommendation),
    )


def _snake(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
