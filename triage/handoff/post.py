"""Takes the nurse's packet to where it can be claimed, outside the call's loop: the shelf, the operator's own system.

`offer` starts one thread for each place and returns; disk, network and retries happen there, and what became of it is
told once. A renewed packet makes the older one pointless: its retries end. Nothing here raises into a call or holds one
up, and a thread that hangs holds up no exit.
"""

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


class Post:
    """Delivers packets to every place, each at its own pace."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self._newest: dict[str, int] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: set[threading.Thread] = set()

    def offer(self, packet: Packet, *, wall_ns: Callable[[], int], report: Callable[[Delivery], None]) -> None:
        """Start delivering. `report` is called once for each place, from another thread. Never waits, never raises.

        `wall_ns` is asked in that thread.
        """
        with self._lock:
            self._newest[packet.code] = max(packet.version, self._newest.get(packet.code, 0))
            while len(self._newest) > KEPT_CODES:
                del self._newest[next(iter(self._newest))]
        for place in self.places:
            thread = threading.Thread(
                target=self._deliver, args=(place, packet, wall_ns, report), name=f"packet-{place.name}", daemon=True
            )
            self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads
                self._threads.discard(thread)
                report(Delivery(place.name, packet.version, UNDELIVERED, 0, "no thread"))

    def close(self, within_s: float = 2.0) -> bool:
        """End the retries and wait for tries under way, at most so long; whether all are done. Idempotent."""
        self._closing.set()
        for thread in tuple(self._threads):
            thread.join(within_s / max(1, len(self._threads)))
        return not any(thread.is_alive() for thread in tuple(self._threads))

    def _deliver(
        self, place: Place, packet: Packet, wall_ns: Callable[[], int], report: Callable[[Delivery], None]
    ) -> None:
        try:
            report(self._outcome(place, packet, wall_ns))
        except Exception:  # whoever wanted to know is gone
            return
        finally:
            self._threads.discard(threading.current_thread())

    def _outcome(self, place: Place, packet: Packet, wall_ns: Callable[[], int]) -> Delivery:
        tries, code = 0, ""
        for rest_s in (0.0, *place.delays_s):
            if rest_s and self._closing.wait(rest_s):
                break
            if self._newest.get(packet.code, 0) > packet.version:
                return Delivery(place.name, packet.version, SUPERSEDED, tries, code)
            tries += 1
            try:
                place.deliver(packet, wall_ns=wall_ns())
            except Undelivered as error:
                code = error.code
                if error.lasting:
                    break
            except Exception as error:
                code = type(error).__name__
            else:
                return Delivery(place.name, packet.version, DELIVERED, tries)
        return Delivery(place.name, packet.version, UNDELIVERED, tries, code)
