"""Promise: the picture of the machine is drawn from its table, and the README shows the picture of today."""

from pathlib import Path

import pytest

from fsm.diagram import drawn_in, mermaid, readme_block
from fsm.states import State
from fsm.table import TABLE

README = Path(__file__).parents[2] / "README.md"


def test_every_pair_of_states_that_a_row_joins_is_drawn() -> None:
    drawn = mermaid()
    inside = {State.LISTENING, State.THINKING, State.SPEAKING, State.INTERRUPT}
    for rule in TABLE:
        if rule.dest is None:
            continue
        target = "[*]" if rule.dest is State.IDLE else rule.dest.name
        for state in rule.source:
            source = "[*]" if state is State.IDLE else state.name
            group = f"conversation --> {target}:" in drawn and state in inside
            assert source == target or group or f"    {source} --> {target}:" in drawn


def test_danger_is_drawn_as_one_arrow_out_of_the_whole_conversation() -> None:
    arrow = next(line for line in mermaid().splitlines() if "conversation --> HANDOFF" in line)
    assert arrow.split(": ", 1)[1].startswith("urgency raised<br/>")


def test_no_arrow_is_drawn_twice() -> None:
    heads = [line.split(":")[0] for line in mermaid().splitlines() if "-->" in line]
    assert len(heads) == len(set(heads))


def test_the_block_is_found_again_in_a_page() -> None:
    page = f"# Title\n\n{readme_block()}\n\nmore\n"
    assert drawn_in(page) == readme_block()
    assert drawn_in("# Title\n") is None


@pytest.mark.skipif(not README.exists(), reason="README.md is not written yet")
def test_the_readme_shows_the_table_of_today() -> None:
    assert drawn_in(README.read_text(encoding="utf-8")) == readme_block(), "paste fsm.diagram.readme_block() again"
