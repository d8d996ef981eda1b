"""Takes the nurse's packet to where it can be claimed, outside the call's loop: the shelf, the operator's own system.

`offer` queues and returns; disk, network and retries are the business of one thread for each place, and what became of a
packet there is told once. A renewed packet makes the older one pointless: its retries end. Nothing here raises into a
call or holds one up, and a place that hangs holds up neither the other place nor the exit.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from triage.ports import Packet

DELIVERED, UNDELIVERED, SUPERSEDED = "delivered", "undelivered", "superseded"
KEPT_CODES = 1000
"""Codes whose newest version is remembered."""


class Undelivered(Exception):
    """A place did not take a packet. The code is short, fixed wording: nothing of the packet."""

    def __init__(self, code: str, *, lasting: bool = False) -> None:
        super().__init__(code)
        self.code = code
        self.lasting = lasting
        """Trying again would not help."""


class Place(Protocol):
    """Where packets are taken."""

    name: str
    delays_s: tuple[float, ...]
    """Rests between tries, s; one more try than rests."""

    def deliver(self, packet: Packet, *, wall_ns: int) -> None:
        """One try; may block.

        Raises:
            Undelivered: it was not taken.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one packet at one place."""

    place: str
    version: int
    outcome: str
    """delivered, undelivered, superseded."""
    tries: int
    code: str = ""
    """Why not, in fixed wording."""


@dataclass(slots=True)
class _Letter:
    """One packet on its way to one place."""

    packet: Packet
    wall_ns: Callable[[], int]
    report: Callable[[Delivery], None]
    tries: int = 0
    code: str = ""


class Post:
    """Delivers packets to every place, each by a thread of its own. Make it before calls come: starting threads takes ms."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._under_way: set[tuple[str, str]] = set()
        """Place and code of every packet whose newest version is not there yet."""
        self._given_up: set[tuple[str, str]] = set()
        self._lanes = [_Lane(place, self._superseded, self._settled) for place in self.places]
        for lane in self._lanes:
            lane.start()

    def offer(self, packet: Packet, *, wall_ns: Callable[[], int], report: Callable[[Delivery], None]) -> None:
        """Have it delivered. `report` is called once for each place, from that place's thread. Never waits, never raises.

        `wall_ns` is asked in that thread, too, for every try.
        """
        with self._lock:
            newest = self._newest[packet.code] = max(packet.version, self._newest.get(packet.code, 0))
            while len(self._newest) > KEPT_CODES:
                del self._newest[next(iter(self._newest))]
            if packet.version == newest:
                self._under_way |= {(place.name, packet.code) for place in self.places}
        for lane in self._lanes:
            lane.letters.put(_Letter(packet, wall_ns, report))

    def close(self, within_s: float = 2.0) -> bool:
        """End the retries and wait for tries under way, at most so long; whether all are done. Idempotent."""
        for lane in self._lanes:
            lane.end()
        for lane in self._lanes:
            lane.join(within_s / len(self._lanes))
        return not any(lane.is_alive() for lane in self._lanes)

    def settle(self, within_s: float) -> int:
        """Wait until each packet has been taken or given up, at most so long; how many were not taken. Blocks."""
        with self._news:
            self._news.wait_for(lambda: not self._under_way, within_s)
            return len(self._under_way | self._given_up)

    def _settled(self, packet: Packet, delivery: Delivery) -> None:
        with self._news:
            here = {(delivery.place, packet.code)}
            if packet.version == self._newest.get(packet.code, packet.version):
                self._under_way -= here
                self._given_up = self._given_up | here if delivery.outcome == UNDELIVERED else self._given_up - here
            self._news.notify_all()

    def _superseded(self, packet: Packet) -> bool:
        with self._lock:
            return self._newest.get(packet.code, 0) > packet.version


class _Lane(threading.Thread):
    """The way to one place: letters in order; one that was not taken rests, and comes again behind the others."""

    def __init__(
        self, place: Place, superseded: Callable[[Packet], bool], settled: Callable[[Packet, Delivery], None]
    ) -> None:
        super().__init__(name=f"packet-{place.name}", daemon=True)
        self.letters: queue.SimpleQueue[_Letter | None] = queue.SimpleQueue()
        self._place, self._superseded, self._settled = place, superseded, settled
        self._resting: dict[threading.Timer, _Letter] = {}
        self._lock = threading.Lock()
        self._ending = False

    def run(self) -> None:
        """Deliver until told to end."""
        while (letter := self.letters.get()) is not None:
            try:
                if (delivery := self._tried(letter)) is not None:
                    self._settled(letter.packet, delivery)
                    letter.report(delivery)
            except Exception:  # whoever wanted to know is gone
                continue

    def end(self) -> None:
        """Rest no more: what rests is told as it stands, what has not been tried is tried once."""
        with self._lock:
            self._ending = True
            resting, self._resting = self._resting, {}
        for timer, letter in resting.items():
            timer.cancel()
            self.letters.put(letter)
        self.letters.put(None)

    def _tried(self, letter: _Letter) -> Delivery | None:
        """What became of it; None: it rests."""
        if self._superseded(letter.packet):
            return self._told(letter, SUPERSEDED)
        if letter.tries and self._ending:
            return self._told(letter, UNDELIVERED)
        letter.tries += 1
        try:
            self._place.deliver(letter.packet, wall_ns=letter.wall_ns())
        except Undelivered as error:
            letter.code = error.code
            if error.lasting:
                return self._told(letter, UNDELIVERED)
        except Exception as error:  # a place that breaks oddly is tried again like any other
            letter.code = type(error).__name__
        else:
            letter.code = ""
            return self._told(letter, DELIVERED)
        return None if self._rests(letter) else self._told(letter, UNDELIVERED)

    def _rests(self, letter: _Letter) -> bool:
        if letter.tries > len(self._place.delays_s):
            return False
        timer = threading.Timer(self._place.delays_s[letter.tries - 1], lambda: self._comes_again(timer))
        timer.daemon = True
        with self._lock:
            if self._ending:
                return False
            self._resting[timer] = letter
        try:
            timer.start()
        except RuntimeError:  # the system gives no more threads
            with self._lock:
                return self._resting.pop(timer, None) is None
        return True

    def _comes_again(self, timer: threading.Timer) -> None:
        with self._lock:
            letter = self._resting.pop(timer, None)
        if letter is not None:
            self.letters.put(letter)

    def _told(self, letter: _Letter, outcome: str) -> Delivery:
        return Delivery(self._place.name, letter.packet.version, outcome, letter.tries, letter.code)
