"""Promise: virtual time jumps only when nothing is ready and nobody outside is at work, and never lies about it."""

import ast
import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from triage.clock import NS, Clock, NothingToWaitFor, OutsideWorkStuck, VirtualLoop, busy_hook, run, stopwatch

# --- virtual time jumps


def test_an_hour_of_sleep_takes_no_time_and_is_exactly_an_hour() -> None:
    async def main() -> tuple[int, float]:
        await asyncio.sleep(3600)
        return Clock().now_ns(), asyncio.get_running_loop().time()

    passed = stopwatch()
    assert run(main(), virtual=True) == (3600 * NS, 3600.0)
    assert passed() < 5.0


def test_timers_fire_in_the_order_of_their_times_each_at_its_own() -> None:
    async def main() -> list[float]:
        loop, fired = asyncio.get_running_loop(), []
        for seconds in (3.0, 0.02, 1.0, 0.021, 2.0):
            loop.call_later(seconds, lambda: fired.append(loop.time()))
        await asyncio.sleep(4)
        return fired

    assert run(main(), virtual=True) == [0.02, 0.021, 1.0, 2.0, 3.0]


def test_what_is_ready_runs_before_time_moves() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, lambda: None)
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time()

    assert run(main(), virtual=True) == 0.0


def test_a_timeout_hits_at_its_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(11)
        return asyncio.get_running_loop().time()

    assert run(main(), virtual=True) == 10.0


def test_a_20_ms_grid_does_not_drift_over_ten_minutes() -> None:
    async def main() -> list[int]:
        clock, seen = Clock(), []
        over = asyncio.Event()

        def tick(number: int) -> None:
            seen.append(clock.now_ns() - number * 20_000_000)
            if number == 30_000:
                over.set()
            else:
                clock.call_at_ns((number + 1) * 20_000_000, tick, number + 1)

        tick(0)
        await over.wait()
        return seen

    assert set(run(main(), virtual=True)) == {0}


def test_the_same_program_runs_in_the_same_order_every_time() -> None:
    async def main() -> list[tuple[float, int, int]]:
        log: list[tuple[float, int, int]] = []
        loop = asyncio.get_running_loop()

        async def worker(number: int) -> None:
            for step in range(40):
                await asyncio.sleep((number * 7 + step * 3) % 5 / 100)
                log.append((loop.time(), number, step))

        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(worker(number))
        return log

    first = run(main(), virtual=True)
    assert len(first) == 480
    assert all(run(main(), virtual=True) == first for _ in range(5))


# --- outside work


def test_time_stands_still_while_a_thread_works_and_its_result_comes_first() -> None:
    async def main() -> list[str]:
        clock, log = Clock(), list[str]()
        loop = asyncio.get_running_loop()
        loop.call_later(0.001, log.append, "timer")
        gate, token = threading.Event(), clock.busy("voice")

        def work() -> None:
            gate.wait(5)
            loop.call_soon_threadsafe(log.append, f"result at {clock.now_ns()}")
            token.release()

        thread = threading.Thread(target=work)
        thread.start()
        threading.Timer(0.05, gate.set).start()
        await asyncio.sleep(1)
        thread.join()
        return log

    assert run(main(), virtual=True) == ["result at 0", "timer"]


def test_a_thousand_results_from_a_thread_are_all_delivered_before_time_moves() -> None:
    """The token is given back behind the results, whatever the two threads' timing."""

    async def main() -> int:
        loop, wrong = asyncio.get_running_loop(), 0
        assert isinstance(loop, VirtualLoop)
        for _ in range(1000):
            before, answer = loop.time(), loop.create_future()
            token = loop.busy("worker")

            def work(answer: asyncio.Future[None] = answer, release: Callable[[], None] = token.release) -> None:
                loop.call_soon_threadsafe(answer.set_result, None)
                release()

            pool.append(work)
            ready.release()
            guard = loop.call_later(0.02, lambda: None)
            await answer
            wrong += loop.time() != before
            guard.cancel()
        return wrong

    pool: list[Callable[[], None]] = []
    ready = threading.Semaphore(0)

    def serve() -> None:
        for _ in range(1000):
            ready.acquire()
            pool.pop()()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert run(main(), virtual=True) == 0
    thread.join(5)


def test_what_has_already_arrived_is_seen_before_time_moves() -> None:
    async def main() -> float:
        loop, seen = asyncio.get_running_loop(), list[float]()
        ours, theirs = socket.socketpair()
        theirs.send(b"x")

        def readable() -> None:
            seen.append(loop.time())
            loop.remove_reader(ours)

        loop.add_reader(ours, readable)
        await asyncio.sleep(1)
        ours.close()
        theirs.close()
        return seen[0]

    assert run(main(), virtual=True) == 0.0


def test_threads_of_the_executor_are_counted_without_being_asked() -> None:
    gate = threading.Event()

    async def main() -> tuple[bool, float]:
        loop = asyncio.get_running_loop()
        threading.Timer(0.05, gate.set).start()
        async with asyncio.timeout(0.001):
            answered = await asyncio.to_thread(gate.wait, 5)
        return answered, loop.time()

    assert run(main(), virtual=True) == (True, 0.0)


def test_an_executor_that_refuses_leaves_no_token_behind() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, int)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError):
            await loop.run_in_executor(None, int)
        await asyncio.sleep(1)
        return loop.time()

    assert run(main(), virtual=True) == 1.0


def test_time_stands_still_while_a_child_process_works() -> None:
    async def main() -> tuple[bytes, float]:
        clock = Clock()
        with clock.outside_work("child"):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "print(6 * 7)", stdout=asyncio.subprocess.PIPE
            )
            said, _ = await child.communicate()
        return said.strip(), asyncio.get_running_loop().time()

    assert run(main(), virtual=True) == (b"42", 0.0)


def test_tokens_are_counted_and_a_token_given_back_twice_counts_once() -> None:
    async def main() -> tuple[bool, bool]:
        clock = Clock()
        loop = asyncio.get_running_loop()
        first, second = clock.busy("one"), clock.busy("two")
        first.release()
        first.release()
        slept = asyncio.ensure_future(asyncio.sleep(1))
        loop.call_soon(second.release)
        still = not slept.done()
        await slept
        return still, loop.time() == 1.0

    assert run(main(), virtual=True) == (True, True)


def test_outside_work_that_never_comes_back_is_named() -> None:
    async def main() -> None:
        clock = Clock()
        clock.busy("writer thread")
        clock.busy("recogniser child")
        await asyncio.sleep(1)

    with pytest.raises(OutsideWorkStuck, match="recogniser child, writer thread") as stuck:
        run(main(), virtual=True, guard_s=0.05)
    assert "\n" not in str(stuck.value)


def test_waiting_for_nothing_is_an_error_that_names_who_waits() -> None:
    async def waits_for_a_reply() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingToWaitFor, match="waits_for_a_reply"):
        run(waits_for_a_reply(), virtual=True)


def test_the_loop_can_be_closed_after_such_an_error_and_the_next_run_is_untouched() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    async def fine() -> float:
        await asyncio.sleep(2)
        return asyncio.get_running_loop().time()

    with pytest.raises(NothingToWaitFor):
        run(hangs(), virtual=True)
    assert run(fine(), virtual=True) == 2.0


# --- the hook for those who know no clock


@pytest.mark.parametrize("virtual", [True, False])
def test_the_hook_fits_either_loop(virtual: bool) -> None:
    made_outside = busy_hook("anybody")

    async def main() -> int:
        hooks = [made_outside, busy_hook("inside"), Clock().busy_hook("by the clock")]
        for hook in hooks:
            with hook(), hook():
                pass
        Clock().busy("token").release()
        await asyncio.sleep(0)
        return len(hooks)

    assert run(main(), virtual=virtual) == 3


def test_the_hook_holds_virtual_time() -> None:
    async def main() -> float:
        hook, loop = busy_hook("writer"), asyncio.get_running_loop()
        answer = loop.create_future()
        with hook():
            threading.Timer(0.02, loop.call_soon_threadsafe, (answer.set_result, None)).start()
            async with asyncio.timeout(0.001):
                await answer
        return loop.time()

    assert run(main(), virtual=True) == 0.0


# --- clocks


def test_virtual_wall_time_is_its_start_plus_what_has_passed() -> None:
    async def main() -> tuple[int, int]:
        await asyncio.sleep(5)
        clock = Clock(wall_start_ns=1_000)
        await asyncio.sleep(2.5)
        return clock.wall_ns(), clock.wall_of(clock.now_ns() + 7)

    assert run(main(), virtual=True) == (1_000 + 2_500_000_000, 1_000 + 2_500_000_007)


def test_real_time_is_real() -> None:
    async def main() -> tuple[int, int, bool]:
        clock = Clock(wall_start_ns=1)
        before, wall = clock.now_ns(), clock.wall_ns()
        await asyncio.sleep(0.01)
        return clock.now_ns() - before, clock.wall_ns() - wall, clock.virtual

    passed, wall_passed, virtual = run(main(), virtual=False)
    assert not virtual
    assert 9_000_000 < passed < 5 * NS
    assert 0 < wall_passed < 5 * NS


def test_a_clock_needs_a_loop() -> None:
    with pytest.raises(RuntimeError):
        Clock()


MAY_READ_TIME = {
    "triage/clock.py": "the clock",
    "triage/bench/impairer.py": "a thread of its own between other programs, whose time it notes",
    "triage/bench/media/pacer.py": "the beat of a thread of its own, which no loop's time may hold up",
    "triage/cli_classify.py": "reports how long a verdict took",
    "classifiers/judge.py": "measures its own deadline; the clock is a parameter",
}


def test_no_other_module_reads_a_clock() -> None:
    root = Path(__file__).parents[1]
    readers = [
        str(path.relative_to(root))
        for room in ("triage", "fsm", "classifiers", "audit", "audio_assets")
        for path in sorted((root / room).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(name.name == "time" for name in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "time")
    ]
    assert sorted(set(readers)) == sorted(path for path in MAY_READ_TIME if (root / path).exists())


def test_an_error_of_the_program_comes_out_as_it_is() -> None:
    async def main() -> None:
        await asyncio.sleep(1)
        raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        run(main(), virtual=True)
