"""Promise: compiled rules are kept and found again, and what is stale, cut or changed is compiled anew."""

import ast
import json
import sys
import tomllib
from pathlib import Path

import pytest

from classifiers import rule_cache
from classifiers.rulebook import Rulebook, keep_compiled, load_rulebook, read_files
from classifiers.tokens import tokenise

DEV = Path(__file__).with_name("dev")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own; nothing is in it."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert not rule_cache.place().exists()
    return rule_cache.place()


def said() -> list[str]:
    rows = [json.loads(row) for row in (DEV / "openings.jsonl").read_text(encoding="utf-8").splitlines() if row]
    return [*[row["text"] for row in rows][::7], "¡mamá no respira!", "", "temperature of thirty nine five"]


def same(one: Rulebook, other: Rulebook) -> bool:
    rows = ("flags", "combinations", "measures", "qualifiers", "cues", "categories", "versions", "languages")
    return all(getattr(one, row) == getattr(other, row) for row in rows) and all(
        one.book.find(tokenise(text)) == other.book.find(tokenise(text)) for text in said()
    )


def test_rules_from_the_cache_are_the_rules_of_the_files(cache: Path) -> None:
    compiled = load_rulebook()
    assert cache.exists()
    kept = load_rulebook()
    assert same(compiled, kept)
    assert same(kept, load_rulebook(read_files()))
    assert compiled.book.packed() == kept.book.packed()


def test_a_changed_rule_file_is_compiled_anew(cache: Path) -> None:
    texts = read_files()
    key = rule_cache.key_of(texts)
    assert rule_cache.keep(key, "compiled")
    assert rule_cache.read(key) == "compiled"
    for name in texts:
        assert rule_cache.read(rule_cache.key_of({**texts, name: texts[name] + " "})) is None


@pytest.mark.parametrize("spoil", ["cut", "changed", "empty", "another key", "absent"])
def test_a_kept_file_that_is_not_whole_is_compiled_anew(cache: Path, spoil: str) -> None:
    load_rulebook()
    content = cache.read_bytes()
    match spoil:
        case "cut":
            cache.write_bytes(content[: len(content) // 2])
        case "changed":
            cache.write_bytes(content[:-9] + bytes((content[-9] ^ 1,)) + content[-8:])
        case "empty":
            cache.write_bytes(b"")
        case "another key":
            cache.write_bytes(bytes(32) + content[32:])
        case _:
            cache.unlink()
    assert rule_cache.read(rule_cache.key_of(read_files())) is None
    assert same(load_rulebook(), load_rulebook(read_files()))
    assert cache.read_bytes() == content


def test_the_key_is_over_all_the_code_that_compiles() -> None:
    """Whatever `rulebook.py` rests on; what a level is called does not matter to what phrases compile to."""
    rooms = Path(rule_cache.__file__).parent
    found, left = set[str](), {"rulebook"}
    while left:
        found.add(module := left.pop())
        tree = ast.parse((rooms / f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("classifiers"):
                room = (node.module or "").removeprefix("classifiers").removeprefix(".")
                left |= ({room} if room else {name.name for name in node.names}) - found
    assert {f"{module}.py" for module in found - {"levels"}} == set(rule_cache._COMPILED_BY)


def test_rules_with_a_bare_date_are_used_and_not_kept(tmp_path: Path) -> None:
    rules = tomllib.loads("approved_on = 2026-11-21")
    assert rule_cache.keep(b"k" * 32, rules, tmp_path / "compiled") is False
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_keeps_no_code_keeps_no_rules(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    assert load_rulebook().book.packed() == load_rulebook(read_files()).book.packed()
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert rule_cache.keep(b"k" * 32, "compiled", tmp_path / "file" / "compiled") is False
    assert rule_cache.read(b"k" * 32, tmp_path / "file" / "compiled") is None


def test_where_python_keeps_nothing_only_the_installer_does(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    load_rulebook()
    assert not cache.exists()
    assert keep_compiled() is True
    assert cache.exists()
    assert [p.name for p in cache.parent.iterdir()] == [cache.name], "nothing half written is left"
