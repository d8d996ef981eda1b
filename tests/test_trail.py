"""Promise: an auditor sees what was heard and decided, turn by turn; what was quiet only when asked; and nothing as markup."""

import json
from typing import Any

from rich.console import Console

from audit.reader import OpenedRecord
from audit.records import Content, Header, Stage
from triage.trail import json_line, trail


def record(stage: Stage, payload: dict[str, Any], turn: int = 1) -> OpenedRecord:
    header = Header(call="c", segment=0, sequence=1, bucket=0, prev=b"\x00" * 32, key="k", opens=None, closes=None)
    return OpenedRecord(header, Content(stage, turn, 2_000_000_000, 1, payload, {}), b"\x01" * 32)


RECORDS = [
    record(Stage.STT_FINAL, {"text": "[red]it hurts\x1b[2J"}),
    record(Stage.ASSESSMENT, {"level": "nurse_now", "category": "cardiac", "rule": "chest"}),
    record(Stage.STEP, {"before": "LISTENING", "after": "LISTENING", "event": {"type": "Heard"}, "effects": []}),
]


def shown(*, everything: bool) -> str:
    console = Console(width=160, force_terminal=False)
    with console.capture() as capture:
        console.print(trail("c\x1b[2J", RECORDS, everything=everything))
    return capture.get()


def test_words_are_text_and_order_nobody_about() -> None:
    said = shown(everything=False)
    assert '"[red]it hurts [2J"' in said and "\x1b" not in said
    assert "nurse_now / cardiac" in said and "rule=chest" in said


def test_a_step_that_changed_nothing_is_shown_only_when_asked() -> None:
    assert "on Heard" not in shown(everything=False)
    assert "LISTENING -> LISTENING on Heard: nothing to do" in shown(everything=True)


def test_a_line_of_json_has_everything() -> None:
    told = json.loads(json_line(RECORDS[0]))
    assert (told["stage"], told["turn"], told["payload"]["text"]) == ("stt_final", 1, "[red]it hurts\x1b[2J")
