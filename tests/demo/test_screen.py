"""Promise: the screen shows what the call told its observers, on a terminal and in a pipe, and never disturbs the call."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from classifiers.assessment import Evidence
from tests.demo import recorded
from triage.demo.screen import Screen, highlighted


def shown(console: Console) -> str:
    screen = Screen("Chest pain", recogniser="pocketsphinx", texts=recorded.TEXTS, console=console)
    screen.start()
    for trace in recorded.chest_call():
        screen.observe(trace)
    screen.stop()
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.fixture
def piped() -> str:
    return shown(Console(file=io.StringIO(), width=80))


def test_a_pipe_gets_plain_lines_without_control_codes(piped: str) -> None:
    assert "\x1b" not in piped and "\r" not in piped
    assert max(len(line) for line in piped.splitlines()) <= 80


def test_a_dumb_terminal_gets_no_cursor_movement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = shown(Console(file=io.StringIO(), width=80, force_terminal=True))
    assert "\x1b[" not in out


def test_a_terminal_gets_a_footer_that_is_wiped_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    out = shown(Console(file=io.StringIO(), width=80, height=40, force_terminal=True))
    assert "\x1b[" in out and "hand-off" in out


def test_every_part_of_the_call_is_shown(piped: str) -> None:
    for words in (
        "idle → speaking  call connected",
        "caller    i have chest pain",
        "nurse_now · chest · chest.pain",
        "i have [chest pain] and [my left arm feels heavy]",
        "answered  +1900 ms from the final  (carrier, attempt 1)",
        "clip_audible 5 ms",
        "I am connecting you to a nurse now.",
        "alarm audit_store (runbooks/audit_store.md)",
        "nurse_now, urgent; somebody rings within 10 min",
        "nurse_bridged (1 finals",
        "the tail was empty",
        "0:09.0",
    ):
        assert words in piped, words


def test_what_was_cut_off_stands_apart_from_what_was_audible(piped: str) -> None:
    assert "Hello, this is the automated [cut off: nurse line.]" in piped


def test_the_packet_comes_before_anybody_answers(piped: str) -> None:
    assert piped.index("nurse packet 1") < piped.index("answered")
    assert " S       said: " + recorded.CHEST in piped and " R       now: speak" in piped


def test_interims_do_not_fill_a_pipe(piped: str) -> None:
    assert piped.count("i have chest") == 2  # the final and its verdict


def test_the_footer_shows_interim_state_and_clock() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80)
    screen = Screen(
        "t", recogniser="scripted", texts=recorded.TEXTS, console=console, now_ns=lambda: recorded.ns(10_000)
    )
    for trace in recorded.chest_call()[:8]:
        list(screen.lines(trace))
    console.print(screen.footer())
    before = out.getvalue()
    assert "LISTENING" in before and "i have chest" in before and "barge_in_pause 64" in before
    for trace in recorded.chest_call()[8:14]:
        list(screen.lines(trace))
    console.print(screen.footer())
    after = out.getvalue().removeprefix(before)
    assert "HANDOFF" in after and "1.0 s" in after and recorded.TEXTS["connecting_nurse"] in after


@pytest.mark.parametrize(
    ("spans", "marked"),
    [
        ((), "a bad pain"),
        (((2, 5),), "a [bad] pain"),
        (((2, 5), (2, 5)), "a [bad] pain"),
        (((0, 5), (2, 10)), "[a bad][ pain]"),
        (((6, 99),), "a bad pain"),
    ],
    ids=["none", "one", "twice", "overlap", "outside"],
)
def test_evidence_is_marked_wherever_it_lies(spans: tuple[tuple[int, int], ...], marked: str) -> None:
    evidence = tuple(Evidence(start=a, end=b, text="") for a, b in spans)
    assert highlighted("a bad pain", evidence, marks=True).plain == marked


def test_words_in_brackets_are_no_markup() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80)
    console.print(Text("[red]not markup[/red]"))
    assert "[red]not markup[/red]" in out.getvalue()
