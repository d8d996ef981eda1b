"""Promise: the call never waits for a disk or a network; what became of each packet is told once; the newest version wins."""

import threading
import time
from dataclasses import replace
from itertools import count

from tests.handoff.test_desk import PACKET
from triage.handoff.post import Delivery, Post, Undelivered
from triage.ports import Packet


class Door:
    """A place that answers as it is told; `None`: taken."""

    def __init__(self, *answers: Exception | None, name: str = "door") -> None:
        self.name = name
        self.delays_s: tuple[float, ...] = (0.01, 0.01, 0.01)
        self.answers = list(answers)
        self.taken: list[int] = []
        self.asked = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def deliver(self, packet: Packet, *, wall_ns: int) -> None:
        self.asked.set()
        self.open.wait(5)
        if self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer
        self.taken.append(packet.version)


def posted(post: Post, *packets: Packet) -> list[Delivery]:
    """Offer these and wait until all is told."""
    told: list[Delivery] = []
    done = threading.Semaphore(0)

    def report(delivery: Delivery) -> None:
        told.append(delivery)
        done.release()

    for packet in packets:
        post.offer(packet, wall_ns=lambda: 1, report=report)
    for _ in range(len(packets) * len(post.places)):
        assert done.acquire(timeout=5)
    return told


def test_a_packet_is_taken_to_every_place() -> None:
    doors = Door(name="one"), Door(name="two")
    told = posted(Post(doors), PACKET)
    assert sorted(told, key=lambda d: d.place) == [
        Delivery("one", 1, "delivered", 1),
        Delivery("two", 1, "delivered", 1),
    ]


def test_it_is_tried_again_until_it_is_taken() -> None:
    door = Door(Undelivered("http 500"), RuntimeError("surprise"), None)
    assert posted(Post([door]), PACKET) == [Delivery("door", 1, "delivered", 3)]


def test_when_no_try_helps_it_is_told_with_the_last_reason() -> None:
    door = Door(*(Undelivered(f"http 50{n}") for n in range(9)))
    assert posted(Post([door]), PACKET) == [Delivery("door", 1, "undelivered", 4, "http 503")]


def test_a_lasting_refusal_is_not_tried_again() -> None:
    door = Door(Undelivered("http 404", lasting=True), None)
    assert posted(Post([door]), PACKET) == [Delivery("door", 1, "undelivered", 1, "http 404")]


def test_a_renewed_packet_ends_the_tries_of_the_older_one() -> None:
    door, told = Door(Undelivered("http 500"), None), list[Delivery]()
    door.delays_s = (60.0,)
    post = Post([door])
    post.offer(PACKET, wall_ns=lambda: 1, report=told.append)
    assert door.asked.wait(5)
    assert posted(post, replace(PACKET, version=2)) == [Delivery("door", 2, "delivered", 1)]
    assert post.close() and door.taken == [2]
    assert told == [Delivery("door", 1, "superseded", 1, "http 500")]


def test_the_end_waits_for_no_rest_and_tries_what_has_not_been_tried() -> None:
    door, told = Door(Undelivered("http 500")), list[Delivery]()
    door.delays_s = (60.0,)
    post = Post([door])
    for code in ("a", "b"):
        post.offer(replace(PACKET, code=code), wall_ns=lambda: 1, report=told.append)
    assert post.close() and post.close()
    assert [(d.outcome, d.tries) for d in told] in (
        [("delivered", 1), ("undelivered", 1)],
        [("undelivered", 1), ("delivered", 1)],
    )


def test_who_has_time_waits_until_all_are_taken() -> None:
    door = Door(Undelivered("http 500"), None)
    door.delays_s = (0.3,)
    post, began = Post([door]), time.perf_counter()
    assert post.settle(0.0) == 0, "nothing is under way"
    post.offer(PACKET, wall_ns=lambda: 1, report=lambda _: None)
    assert post.settle(5.0) == 0 and door.taken == [1]
    assert 0.3 <= time.perf_counter() - began < 2.0


def test_waiting_has_an_end_and_says_how_many_were_not_taken() -> None:
    resting, refused = Door(*[Undelivered("http 500")] * 9, name="a"), Door(Undelivered("404", lasting=True), name="b")
    resting.delays_s = (60.0,)
    post = Post([resting, refused])
    post.offer(PACKET, wall_ns=lambda: 1, report=lambda _: None)
    assert post.settle(0.2) == 2
    assert post.close()


def test_a_packet_that_a_newer_one_replaced_is_not_waited_for() -> None:
    door = Door(Undelivered("http 500"), None)
    door.delays_s = (60.0,)
    post = Post([door])
    post.offer(PACKET, wall_ns=lambda: 1, report=lambda _: None)
    assert door.asked.wait(5)
    post.offer(replace(PACKET, version=2), wall_ns=lambda: 1, report=lambda _: None)
    assert post.settle(5.0) == 0 and door.taken == [2]
    assert post.close()


def test_versions_that_come_late_are_superseded_untried() -> None:
    door = Door()
    post = Post([door])
    posted(post, replace(PACKET, version=2))
    assert posted(post, PACKET) == [Delivery("door", 1, "superseded", 0)]
    assert door.taken == [2] and post.settle(0.0) == 0


def test_a_place_that_hangs_holds_up_neither_the_call_nor_the_other_places_nor_the_end() -> None:
    hung, well = Door(name="hung"), Door(name="well")
    hung.open.clear()
    post, told = Post([hung, well]), threading.Event()
    took: list[float] = []
    for version in range(1, 51):
        began = time.perf_counter()
        post.offer(
            replace(PACKET, code=f"code-{version}"),
            wall_ns=lambda: 1,
            report=lambda d: told.set() if d.place == "well" else None,
        )
        took.append(time.perf_counter() - began)
    assert told.wait(5) and well.taken
    assert sorted(took)[25] < 0.001, "an offer queues and returns"
    assert not post.close(0.05)
    hung.open.set()


def test_whoever_asked_may_be_gone() -> None:
    """The call's loop is closed when the answer comes: nothing is left of it but the delivery."""
    door, asked = Door(), threading.Event()

    def gone(_: Delivery) -> None:
        asked.set()
        raise RuntimeError("the loop is closed")

    post = Post([door])
    post.offer(PACKET, wall_ns=lambda: 1, report=gone)
    assert asked.wait(5) and post.close() and door.taken == [1]


def test_the_clock_is_asked_anew_for_every_try() -> None:
    seen: list[int] = []

    class Noting(Door):
        def deliver(self, packet: Packet, *, wall_ns: int) -> None:
            seen.append(wall_ns)
            super().deliver(packet, wall_ns=wall_ns)

    ticks = count(10)
    done = threading.Event()
    Post([Noting(Undelivered("http 500"), None)]).offer(
        PACKET, wall_ns=lambda: next(ticks), report=lambda _: done.set()
    )
    assert done.wait(5) and seen == [10, 11]
