"""Promise: what goes to a terminal holds no sign that it would obey, and JSON made so reads back the same."""

import json

import pytest

from audit.printable import escaped, printable

ORDERS = ["\x1b[2J", "\x9b2J", "\r", "\b", "\x7f", "\u202e", "\u200b", "\udc9b", "\U000e0041"]


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_becomes_a_blank_and_an_escape_in_json(order: str) -> None:
    assert printable(f"a{order}b").isprintable() and printable(f"a{order}b").startswith("a ")
    told = escaped(json.dumps([f"a{order}b"], ensure_ascii=False))
    assert told.isprintable() and json.loads(told) == [f"a{order}b"]


def test_words_of_any_language_stay_and_lines_where_they_may() -> None:
    assert printable("¿dónde? 胸が痛い") == "¿dónde? 胸が痛い"
    assert printable("one\ntwo") == "one two" and printable("one\ntwo", lines=True) == "one\ntwo"
    assert printable(7) == "7"
