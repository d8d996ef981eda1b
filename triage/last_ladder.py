"""The way to a nurse that needs no machine: what is left when `step` itself raises.

The recorded apology, then rung after rung for as long as the caller waits, the emergency number every 10 s. A nurse who
answers on a leg of ours hears the whisper and accepts by key, as always; one whom the machine held is given her time for
that first. When she is lost the ladder begins again. It decides by what the line signals and by nothing else. What breaks
in here is nobody's to mend: it comes out.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from fsm import prompts
from fsm.events import Rung
from triage.clips import ClipLibrary
from triage.ports import Line, LineSignal, SignalKind

FIRST = 1_000_000
"""Attempts and playbacks of this ladder count from here, apart from the machine's."""
NUMBER_EVERY_S = 10.0
"""Without a nurse the number is said so long after the apology began, and so often."""
KEY_WITHIN_S = 15.0
"""So long may a nurse who answered take for the key; voicemail never presses it."""
REST_S = 1.0
"""Between a rung that came to nothing and the next one."""


class LastLadder:
    """One caller's last ladder."""

    def __init__(
        self,
        line: Line,
        clips: ClipLibrary,
        *,
        rungs: Callable[[], Sequence[Rung]],
        code: str,
        say: Callable[[int, str], None],
        silence: Callable[[], None],
        bridged: int = 0,
        held: Iterable[int] = (),
        gone: bool = False,
    ) -> None:
        """`say` appends a clip, by id, to what the caller hears, as the playback of this number; `silence` ends all that.

        `bridged` is the attempt whose nurse has the caller already: the two hear nothing of this until she is lost. `held`
        are those whose nurses were asked for the key. `gone`: there is no caller any more, and no ladder to climb.
        """
        self._line, self._clips, self._rungs, self._code = line, clips, rungs, code
        self._say, self._silence = say, silence
        self._attempt = self._playback = FIRST
        self._held = set(held)
        self._settled = asyncio.Event()
        self._alone = asyncio.Event()
        self._gone = gone
        self.bridged = bridged
        """The attempt whose nurse has the caller; 0 when none has."""
        self.taken = 0
        """The attempt by which the carrier has taken the caller to a nurse; 0 when it has not."""
        if not bridged:
            self._alone.set()

    @property
    def attempts(self) -> range:
        """Numbers of every attempt so far."""
        return range(FIRST + 1, self._attempt + 1)

    def apologise(self) -> None:
        """What the caller hears first, in the place of everything else."""
        if not self.bridged:
            self._say(self._playback, prompts.APOLOGY)

    def follow(self, signal: LineSignal) -> None:
        """What the line says of a nurse, those included whom the machine has called before."""
        attempt = signal.attempt
        match signal.kind:
            case SignalKind.ANSWERED if signal.takes_caller:
                self.taken = attempt
            case SignalKind.ANSWERED if self.bridged or self._gone:
                self._line.release(attempt, self._clips.clip("nurse_released").pcm)
            case SignalKind.ANSWERED:
                self._held.add(attempt)
                self._line.whisper(attempt, self._clips.clip("nurse_whisper").pcm)
            case SignalKind.NURSE_KEY if attempt in self._held and not self._gone:
                self._bridge(attempt)
            case SignalKind.HUNG_UP:
                self._gone = True
                for number in {*self._held, self.bridged} - {0}:
                    self._line.release(number)
            case SignalKind.NURSE_LOST | SignalKind.REFUSED | SignalKind.TIMED_OUT | SignalKind.PENDING:
                self._held.discard(attempt)
                if attempt == self.bridged:
                    self.bridged = 0
                    self._alone.set()
                    self._next(prompts.RECONNECTING)
                if attempt == self._attempt or (self._attempt == FIRST and not self._held):
                    self._settled.set()

    def _bridge(self, attempt: int) -> None:
        self.bridged = attempt
        self._alone.clear()
        self._silence()
        self._line.bridge(attempt)
        for other in self._held - {attempt}:
            self._line.release(other, self._clips.clip("nurse_released").pcm)
        self._held.clear()
        self._settled.set()

    def _next(self, prompt: str) -> None:
        self._playback += 1
        self._say(self._playback, prompt)

    async def say_number(self) -> None:
        """Say the number again and again while no nurse has the caller; until it is cancelled."""
        while True:
            await asyncio.sleep(NUMBER_EVERY_S)
            if not self.bridged:
                self._next(prompts.EMERGENCY_NUMBER)

    async def climb(self) -> None:
        """Try rung after rung while no nurse has the caller; until it is cancelled."""
        if self._held:
            await self._keys_of_the_held()
        while True:
            for rung in self._rungs():
                await self._alone.wait()
                await self._try(rung)
            await asyncio.sleep(REST_S)

    async def _keys_of_the_held(self) -> None:
        """Whom the machine held is with the caller sooner than anybody who is called now; her phone is busy meanwhile."""
        asked = set(self._held)
        with suppress(TimeoutError):
            async with asyncio.timeout(KEY_WITHIN_S):
                await self._settled.wait()
        for attempt in asked & self._held:  # not her who answered meanwhile
            self._held.discard(attempt)
            self._line.release(attempt)

    async def _try(self, rung: Rung) -> None:
        self._settled.clear()
        self._attempt += 1
        attempt, within_s = self._attempt, rung.answer_within_s + REST_S
        self._line.transfer(attempt, rung, code=self._code, timeout_s=within_s)
        for limit_s in (within_s, KEY_WITHIN_S):
            try:
                async with asyncio.timeout(limit_s):
                    await self._settled.wait()
            except TimeoutError:
                if attempt in self._held and limit_s == within_s:
                    continue
            break
        if attempt in self._held:
            self._held.discard(attempt)
            self._line.release(attempt)
        await asyncio.sleep(REST_S)
