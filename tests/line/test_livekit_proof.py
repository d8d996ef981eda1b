"""Promise: a REFER that was told a success is believed only when the caller's leg has outlived it by 0.3 s.

The bound stands here as a figure: a shorter one would take a hang-up in mid-transfer for a nurse who has the caller.
"""

import asyncio

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from tests.line.fake_calls import REFER, K, quiet, seen  # noqa: F401 a fixture
from tests.line.fake_rooms import CALLER
from tests.virtual import in_virtual_time

SUCCESS_S = 1.2
"""The API has told the success by then."""


@in_virtual_time
async def test_a_leg_that_ends_a_fifth_of_a_second_after_the_success_is_an_unknown_outcome() -> None:
    async with seen() as call:
        call.transfer(1, REFER)
        await asyncio.sleep(SUCCESS_S + 0.2)
        call.room.leave(CALLER)
        await asyncio.sleep(2)
        assert call.kinds == [K.HUNG_UP, K.TIMED_OUT]


@in_virtual_time
async def test_a_leg_that_stands_half_a_second_after_the_success_is_with_the_nurse() -> None:
    async with seen() as call:
        call.transfer(1, REFER)
        await asyncio.sleep(SUCCESS_S + 0.5)
        assert call.kinds == [K.ANSWERED]
