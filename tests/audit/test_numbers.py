"""Promise: a call's number asks nobody: it comes from a block that is held, and what is not used goes back."""

from audit.numbers import Numbers


class Lender:
    """Lends blocks one after the other; refuses when told to."""

    def __init__(self) -> None:
        self.refuses = False
        self.asked = 0
        self.returned: list[tuple[int, int]] = []

    def lease_numbers(self, writer: str, count: int) -> int:
        if self.refuses:
            raise OSError("down")
        self.asked += 1
        return (self.asked - 1) * count + 1

    def return_numbers(self, first: int, used: int) -> None:
        if self.refuses:
            raise OSError("down")
        self.returned.append((first, used))


def test_numbers_come_in_order_and_a_new_block_is_asked_for_in_time() -> None:
    lender = Lender()
    numbers = Numbers(lender, "w1", 4)
    assert numbers.next() is None and numbers.low, "nothing is leased yet: provisional"
    assert numbers.lease()
    assert [numbers.next() for _ in range(3)] == [1, 2, 3] and numbers.low
    assert numbers.lease() and not numbers.low
    assert [numbers.next() for _ in range(6)] == [4, 5, 6, 7, 8, None]


def test_what_was_not_used_goes_back() -> None:
    lender = Lender()
    numbers = Numbers(lender, "w1", 4)
    numbers.lease()
    numbers.next()
    assert numbers.give_back() == 0 and lender.returned == [(1, 1)]


def test_a_store_that_is_down_lends_nothing_and_raises_nothing() -> None:
    lender = Lender()
    numbers = Numbers(lender, "w1", 4)
    numbers.lease()
    lender.refuses = True
    assert not numbers.lease()
    assert numbers.next() == 1, "what is held stays"
    assert numbers.give_back() == 1, "the block counts as used up to its last call"
