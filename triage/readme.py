"""The parts of README that are made from the code: the table of settings, the diagram of the machine."""

from fsm import diagram
from triage.config import documented

SETTINGS_START = "<!-- settings:start -->"
SETTINGS_END = "<!-- settings:end -->"


def settings_table() -> str:
    """Every setting with default and meaning, in Markdown, between its markers."""
    rows = [f"| `{name}` | `{default}` | {meaning} |" for name, default, meaning in documented()]
    return "\n".join([SETTINGS_START, "| Setting | Default | Meaning |", "|---|---|---|", *rows, SETTINGS_END])


def renewed(text: str) -> str:
    """The same README with both parts as the code has them now; parts whose markers are missing are left out."""
    blocks = (
        (SETTINGS_START, SETTINGS_END, settings_table()),
        (diagram.README_START, diagram.README_END, diagram.readme_block()),
    )
    for start, end, block in blocks:
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if found and closed:
            text = before + block + after
    return text
