"""The playout lane: one ordered stream of our speech towards the caller.

It can be paused, resumed and flushed to the sample, and it knows which words were audible. Its rules:

- The line is fed one frame at a time, `LEAD` before the one on the air runs out: never more than one frame ahead of it.
- An idle lane starts at once, inside `append` or `extend`; the 20 ms grid begins anew there. The grid is kept by
  absolute times, so it does not drift; after a stall it begins anew instead of catching up in a burst.
- Pause takes back what the line has not let out and rewinds by exactly that much: resume plays those samples again.
- A slow producer makes a gap, never a sample of ours that nobody said.
- audible = pushed - queued at the line - the line's constant delay. A word counts as audible when at least half of it
  was. Samples that have left the line when the lane is flushed, and are still under way, are not counted.
- Every playback is reported once, when its last sample was audible or when it was cut (`heard`).
"""

import asyncio
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fsm.events import EffectFailed, Event, PlayoutFinished, PlayoutStarted
from triage.clock import NS, Clock
from triage.errors import StageError
from triage.ports import FRAME, RATE, Pcm, SpokenWord

LEAD = RATE // 200
"""Samples (5 ms) that the line still has when it gets the next frame; what a late loop may cost before a gap is heard."""
SAMPLE_NS = NS // RATE
"""62,500 ns, exactly."""
WORDS_KEPT_S = 60.0
"""How long audible words are remembered."""
LETTER = RATE // 15
"""Samples per letter, where a voice gives no word times and the length is not known yet."""
REPORTS_KEPT = 64


class Outlet(Protocol):
    """The part of a `Line` that the lane needs."""

    playout_delay: int

    def send(self, pcm: Pcm) -> None: ...  # noqa: D102 see ports.Line
    def queued(self) -> int: ...  # noqa: D102 see ports.Line
    def drop(self) -> int: ...  # noqa: D102 see ports.Line


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word of ours that the caller could hear."""

    text: str
    start_ns: int
    """Monotonic time at which it began at the caller's ear."""
    end_ns: int
    playback: int


@dataclass(frozen=True, slots=True)
class Audible:
    """How much of one playback was audible."""

    playback: int
    generation: int
    prompt: str | None
    text: str
    """The audible words."""
    ordered: str
    """All words that were ordered."""
    words: tuple[HeardWord, ...]
    samples: int
    """Audible samples, from the playback's first."""
    length: int
    """Samples that were ordered (so far, while it is being streamed)."""
    cut_off: bool
    """Some of its words were not audible (where it has no words: some of its samples)."""
    started_ns: int | None
    """When the line accepted the first sample; None when it never did."""
    ended_ns: int
    """When its last audible sample was over at the caller's ear, or the time of this answer."""


@dataclass(slots=True)
class _Piece:
    """A run of samples the line accepted."""

    at: int
    """Index of its first sample among all that were pushed."""
    start: int
    """Index of its first sample in its playback."""
    length: int
    leaves_ns: int
    """When its first sample leaves the line."""


@dataclass(slots=True)
class _Playback:
    number: int
    generation: int
    prompt: str | None
    text: str
    pcm: list[Pcm] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    words: list[SpokenWord] = field(default_factory=list)
    length: int = 0
    closed: bool = False
    pushed: int = 0
    pieces: list[_Piece] = field(default_factory=list)
    started_ns: int | None = None
    failed: bool = False

    def add(self, pcm: Pcm) -> None:
        if len(pcm):
            self.pcm.append(pcm)
            self.starts.append(self.length)
            self.length += len(pcm)

    def read(self, start: int, most: int) -> Pcm:
        """Samples from `start` on: at least one, at most `most`, contiguous."""
        index = bisect_right(self.starts, start) - 1
        inside = start - self.starts[index]
        return self.pcm[index][inside : inside + most]

    def spoken(self) -> list[SpokenWord]:
        """Its words with positions; where the voice gave none they are spread over the length by their letters."""
        if self.words:
            return self.words
        return spread(self.text, self.length if self.closed else max(self.length, LETTER * len(self.text)))

    def begins_ns(self, sample: int, delay: int) -> int:
        """When the beginning of a pushed sample is at the caller's ear."""
        piece = self.pieces[bisect_right(self.pieces, sample, key=lambda piece: piece.start) - 1]
        return piece.leaves_ns + (sample - piece.start + delay) * SAMPLE_NS

    def ends_ns(self, samples: int, delay: int) -> int:
        """When the first so many samples (at least one) are over at the caller's ear."""
        return self.begins_ns(samples - 1, delay) + SAMPLE_NS


def spread(text: str, length: int) -> list[SpokenWord]:
    """Words whose times nobody knows: each takes its share of so many samples by its letters."""
    tokens = text.split()
    letters = sum(len(token) + 1 for token in tokens)
    words, before = [], 0
    for token in tokens:
        after = before + len(token) + 1
        words.append(SpokenWord(token, length * before // letters, length * after // letters))
        before = after
    return words


class Playout:
    """The lane of one call. All methods are synchronous and meant for the call's loop; none waits."""

    def __init__(
        self,
        line: Outlet,
        clock: Clock,
        emit: Callable[[Event], None],
        heard: Callable[[Audible], None] | None = None,
    ) -> None:
        """`emit` gets PlayoutStarted, PlayoutFinished and EffectFailed; `heard` gets every playback once, at its end."""
        self._line = line
        self._clock = clock
        self._emit = emit
        self._heard = heard
        self._lane: deque[_Playback] = deque()
        self._paused = False
        self._stopped = False
        self._pushed = 0
        self._closed_through = 0
        self._due_ns = 0
        self._tick: asyncio.TimerHandle | None = None
        self._settle: asyncio.TimerHandle | None = None
        self._broken: Exception | None = None
        self._ended = asyncio.Event()
        self._recent: deque[HeardWord] = deque()
        self._reports: OrderedDict[int, Audible] = OrderedDict()

    # --- what is to be played

    def append(
        self,
        playback: int,
        pcm: Pcm,
        *,
        text: str,
        words: Sequence[SpokenWord] = (),
        generation: int = 0,
        prompt: str | None = None,
        last: bool = True,
    ) -> None:
        """Add speech whose samples are all here. With `last` False the same playback goes on with another `append`.

        `words` count from this piece's first sample. A playback that is complete, was flushed or has ended is ignored.
        """
        self.open(playback, text="", generation=generation, prompt=prompt)
        item = self._find(playback)
        if item is None or item.closed:
            return
        known = words or spread(text, len(pcm))
        item.words.extend(SpokenWord(word.text, word.start + item.length, word.end + item.length) for word in known)
        item.text = f"{item.text} {text}".strip()
        item.add(pcm)
        item.closed = last
        self._feed()

    def open(self, playback: int, *, text: str, generation: int = 0, prompt: str | None = None) -> None:
        """Take a place in the lane for speech that is still being made; what is appended later waits for its `finish`."""
        if playback > self._closed_through and self._find(playback) is None and playback not in self._reports:
            self._lane.append(_Playback(playback, generation, prompt, text))

    def extend(self, playback: int, pcm: Pcm, words: Sequence[SpokenWord] = ()) -> None:
        """Add a piece to an open playback; `words` count from the playback's first sample. Flushed ones are ignored."""
        item = self._find(playback)
        if item is None or item.closed:
            return
        item.words.extend(words)
        item.add(pcm)
        self._feed()

    def finish(self, playback: int) -> None:
        """No more pieces will come."""
        item = self._find(playback)
        if item is not None:
            item.closed = True
            self._feed()

    # --- pause, resume, flush

    def pause(self) -> None:
        """Hold at the sample: what the line has not let out is taken back. Idempotent."""
        if self._paused:
            return
        self._settled()
        self._paused = True
        self._stop_timers()
        self._rewind(self._line.drop())

    def resume(self) -> None:
        """Go on with the very next sample. Idempotent."""
        if self._paused:
            self._paused = False
            self._feed()

    def flush(self, *, through: int = 0) -> list[Audible]:
        """Drop everything in the lane and at the line, open a held lane, and say what had been audible of each playback.

        What belongs to one of them, or to any playback up to `through`, is ignored from now on.
        """
        self._paused = False
        self._settled(quiet=True)
        self._stop_timers()
        self._rewind(self._line.drop())
        cut = [self._measure(item) for item in self._lane]
        self._closed_through = max(self._closed_through, through, *(item.number for item in self._lane), 0)
        self._lane.clear()
        for report in cut:
            self._report(report)
        return cut

    # --- questions

    @property
    def playing(self) -> bool:
        """Something is in the lane and the lane is not held."""
        return bool(self._lane) and not self._paused

    @property
    def paused(self) -> bool:
        """The lane is held."""
        return self._paused

    @property
    def empty(self) -> bool:
        """Nothing is in the lane."""
        return not self._lane

    def audible(self, playback: int) -> Audible | None:
        """How much of a playback was audible until now; None when it is unknown or long over."""
        item = self._find(playback)
        return self._measure(item) if item else self._reports.get(playback)

    def recent_words(self, window_s: float = 2.0, at_ns: int | None = None) -> list[HeardWord]:
        """Words of ours that could be heard within the last `window_s` before `at_ns` (default: now), oldest first.

        A word that has only begun belongs to them: an echo may hold its first half.
        """
        until = self._clock.now_ns() if at_ns is None else at_ns
        since = until - int(window_s * NS)
        live = (word for item in self._lane for word in self._words(item, self._audible_samples(item), begun=True))
        return [word for word in (*self._recent, *live) if word.end_ns > since and word.start_ns <= until]

    async def run(self) -> None:
        """Belongs in the call's TaskGroup: fails when the pacing failed, and ends the pacing when it is cancelled."""
        try:
            await self._ended.wait()
            if self._broken is not None:
                raise self._broken
        finally:
            self._stopped = True
            self._stop_timers()

    # --- pacing

    def _feed(self) -> None:
        """New samples, or a lane that was opened: start at once when idle, else let the grid go on."""
        if self._paused or self._stopped or self._tick is not None:
            return
        queued = self._line.queued()
        self._due_ns = self._clock.now_ns() + (queued - LEAD) * SAMPLE_NS
        if queued > LEAD and self._unpushed():
            self._tick = self._clock.call_at_ns(self._due_ns, self._on_timer, True)
        else:
            self._beat()

    def _on_timer(self, beat: bool) -> None:
        try:
            if beat:
                self._tick = None
                self._beat()
            else:
                self._settle = None
                self._settled()
        except Exception as broken:  # a timer's callback: `run` raises it to its task
            self._broken = broken
            self._ended.set()

    def _beat(self) -> None:
        """Push at most one frame, and set the next beat while there is something to push."""
        now, queued = self._clock.now_ns(), self._line.queued()
        # A line that has more than a frame left is behind the clock: one beat off.
        took, events = self._push(now, queued) if queued <= FRAME else (FRAME, [])
        if queued == 0:
            self._due_ns = now + (took - LEAD) * SAMPLE_NS  # idle, starved or stalled: the grid begins here
        else:
            self._due_ns += took * SAMPLE_NS
        for event in events:  # told last: whoever hears it may flush, pause or append at once
            self._emit(event)
        self._settled()
        if self._tick is None and not self._paused and not self._stopped and self._unpushed():
            self._tick = self._clock.call_at_ns(self._due_ns, self._on_timer, True)

    def _unpushed(self) -> bool:
        for item in self._lane:
            if item.pushed < item.length:
                return True
            if not item.closed:
                return False  # the lane waits for its producer
        return False

    def _push(self, now: int, queued: int) -> tuple[int, list[Event]]:
        """Give the line up to one frame, across playbacks where one ends.

        Returns how many samples of time that took, and what is to be told.
        """
        parts: list[tuple[_Playback, int, Pcm]] = []
        room = FRAME
        for item in self._lane:
            position = item.pushed
            while room and position < item.length:
                pcm = item.read(position, room)
                parts.append((item, position, pcm))
                position += len(pcm)
                room -= len(pcm)
            if not room or not item.closed:
                break
        if not parts:
            return 0, []
        try:
            self._line.send(parts[0][2] if len(parts) == 1 else np.concatenate([pcm for _, _, pcm in parts]))
        except StageError as error:
            return FRAME, self._unsent(parts[0][0], now, error)  # tried again one frame later
        leaves = now + queued * SAMPLE_NS
        begun: list[Event] = []
        for item, position, pcm in parts:
            item.pieces.append(_Piece(self._pushed, position, len(pcm), leaves))
            item.pushed += len(pcm)
            self._pushed += len(pcm)
            leaves += len(pcm) * SAMPLE_NS
            if item.started_ns is None:
                item.started_ns = now
                begun.append(PlayoutStarted(at_ns=now, playback=item.number))
        return FRAME - room, begun

    def _unsent(self, item: _Playback, now: int, error: StageError) -> list[Event]:
        """The line would not take a frame: say so once per playback; the frame stays where it is."""
        if item.failed:
            return []
        item.failed = True
        number, generation = item.number, item.generation
        return [EffectFailed(at_ns=now, effect="Play", stage=error.stage, playback=number, generation=generation)]

    def _rewind(self, dropped: int) -> None:
        """The line gave back its last samples: they were not pushed after all."""
        for item in reversed(self._lane):
            while dropped and item.pieces:
                piece = item.pieces[-1]
                back = min(dropped, piece.length)
                piece.length -= back
                item.pushed -= back
                self._pushed -= back
                dropped -= back
                if not piece.length:
                    item.pieces.pop()

    def _settled(self, *, quiet: bool = False) -> None:
        """Report playbacks that were audible to their end; with the last one the lane is finished."""
        if self._paused or self._stopped:
            return
        last = 0
        while self._lane and self._over(self._lane[0]):
            item = self._lane.popleft()
            last = item.number
            self._report(self._measure(item))
        if last and not self._lane and not quiet:
            self._emit(PlayoutFinished(at_ns=self._clock.now_ns(), playback=last))
        head = self._lane[0] if self._lane else None
        if head is not None and self._settle is None and head.closed and head.pushed == head.length:
            now = self._clock.now_ns()
            ends = head.ends_ns(head.length, self._line.playout_delay) if head.pieces else now
            if ends <= now:
                ends = now + max(self._line.queued(), FRAME // 40) * SAMPLE_NS
            self._settle = self._clock.call_at_ns(ends, self._on_timer, False)

    def _over(self, item: _Playback) -> bool:
        return item.closed and item.pushed == item.length and self._audible_samples(item) == item.length

    def _stop_timers(self) -> None:
        for timer in (self._tick, self._settle):
            if timer is not None:
                timer.cancel()
        self._tick = self._settle = None

    # --- what was audible

    def _find(self, playback: int) -> _Playback | None:
        return next((item for item in self._lane if item.number == playback), None)

    def _audible_samples(self, item: _Playback) -> int:
        delay = self._line.playout_delay
        left = self._pushed - self._line.queued()
        ear_ns = self._clock.now_ns() - delay * SAMPLE_NS + SAMPLE_NS // 2
        for piece in reversed(item.pieces):
            out = min(piece.length, left - piece.at)
            if delay:  # what left the line is under way for a while; a gap must not shorten that
                out = min(out, (ear_ns - piece.leaves_ns) // SAMPLE_NS)
            if out > 0:
                return piece.start + out
        return 0

    def _words(self, item: _Playback, audible: int, *, begun: bool = False) -> list[HeardWord]:
        spoken, tokens = item.spoken(), item.text.split()
        texts = tokens if len(tokens) == len(spoken) else [word.text for word in spoken]
        delay = self._line.playout_delay
        words = []
        for text, word in zip(texts, spoken, strict=True):
            if audible > word.start and (begun or 2 * audible >= word.start + word.end):
                start = item.begins_ns(word.start, delay)
                end = item.ends_ns(max(min(word.end, audible), word.start + 1), delay)
                words.append(HeardWord(text, start, end, item.number))
        return words

    def _measure(self, item: _Playback) -> Audible:
        audible = self._audible_samples(item)
        words = self._words(item, audible)
        whole = item.closed and len(words) == len(item.spoken()) and (bool(words) or audible == item.length)
        ended = item.ends_ns(audible, self._line.playout_delay) if audible else self._clock.now_ns()
        return Audible(
            playback=item.number,
            generation=item.generation,
            prompt=item.prompt,
            text=item.text if whole else " ".join(word.text for word in words),
            ordered=item.text,
            words=tuple(words),
            samples=audible,
            length=item.length,
            cut_off=not whole,
            started_ns=item.started_ns,
            ended_ns=min(ended, self._clock.now_ns()),
        )

    def _report(self, report: Audible) -> None:
        self._reports[report.playback] = report
        while len(self._reports) > REPORTS_KEPT:
            self._reports.popitem(last=False)
        self._recent.extend(report.words)
        oldest = self._clock.now_ns() - int(WORDS_KEPT_S * NS)
        while self._recent and self._recent[0].end_ns < oldest:
            self._recent.popleft()
        if self._heard is not None:
            self._heard(report)
