"""Promise: every tool server declares what it has, refuses what it has not, and books once per key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from triage.errors import StageError
from triage.ports import Latency, Tools
from triage.tools import FakeTools

SERVERS: dict[str, Callable[[Path], Tools]] = {
    "in memory": lambda folder: FakeTools(),
    "file": lambda folder: FakeTools(folder / "tools.db"),
}
BOOKING = {"idempotency_key": "c:callback", "number": "5550100", "within_s": "3600", "level": "routine"}


@pytest.mark.parametrize("make", SERVERS.values(), ids=SERVERS)
class TestTools:
    def test_what_exists_is_declared(self, make: Callable[[Path], Tools], tmp_path: Path) -> None:
        specs = {spec.name: spec for spec in make(tmp_path).specs()}
        assert {"find_patient", "approved_text", "book_callback"} <= set(specs)
        assert not specs["book_callback"].reversible
        assert specs["find_patient"].reversible
        assert specs["find_patient"].latency is Latency.FAST

    async def test_an_irreversible_tool_wants_a_key_and_honours_it(
        self, make: Callable[[Path], Tools], tmp_path: Path
    ) -> None:
        tools = make(tmp_path)
        with pytest.raises(StageError):
            await tools.call("book_callback", {"number": "5550100", "within_s": "3600"})
        assert await tools.call("book_callback", BOOKING) == await tools.call("book_callback", BOOKING)

    async def test_values_are_text(self, make: Callable[[Path], Tools], tmp_path: Path) -> None:
        result = await make(tmp_path).call("book_callback", BOOKING)
        assert result.ok
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in result.values.items())

    async def test_an_unknown_tool_is_a_stage_error(self, make: Callable[[Path], Tools], tmp_path: Path) -> None:
        with pytest.raises(StageError):
            await make(tmp_path).call("no_such_tool", {})
