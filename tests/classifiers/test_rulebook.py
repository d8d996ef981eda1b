"""Promise: the rule files are complete, well formed and say where they come from; a broken one stops the start."""

import re

import pytest

from classifiers import Category, Level
from classifiers.rule_check import RuleFileError
from classifiers.rulebook import SCHEMA, Combination, Flag, load_rulebook, phrases, read_files

RULES = load_rulebook()
TEXTS = read_files()
DANGERS = [c for c in Category if c not in (Category.NONE, Category.CLASSIFIER_FAILED)]


def test_every_class_that_a_phrase_names_is_defined_and_can_be_found() -> None:
    named = {atom for atom in RULES.book.atoms() if re.fullmatch(r"<[a-z_]+>", atom)}
    assert named <= RULES.book.emitted() | {
        "<num>",
        "<many>",
        "<year>",
        "<decade>",
        "<fevernum>",
        "<longnum>",
        "<spelled>",
    }


@pytest.mark.parametrize("category", DANGERS)
def test_every_category_has_rules_in_both_languages(category: Category) -> None:
    codes = {code for code, flag in RULES.flags.items() if flag.category is category and flag.level.urgent}
    assert codes & RULES.languages["en"]
    assert codes & RULES.languages["es"]


@pytest.mark.parametrize("category", list(Category))
def test_every_category_has_its_clips_and_rank(category: Category) -> None:
    row = RULES.categories[category]
    assert category is Category.NONE or (row.clip and row.emergency_clip)


def test_every_urgent_rule_names_its_source_and_has_room_for_an_approval() -> None:
    signed: list[Flag | Combination] = [*RULES.flags.values(), *RULES.combinations]
    for rule in signed:
        if rule.level.urgent:
            assert rule.source
            assert bool(rule.approved_by) == bool(rule.approved_on)


def test_the_dangers_that_kill_before_a_nurse_answers_come_first() -> None:
    first = {code for code, flag in RULES.flags.items() if flag.level is Level.EMERGENCY_NOW}
    assert {"not_breathing", "choking", "unresponsive", "seizing_now", "spurting_blood", "attempt"} <= first


def test_combinations_are_made_of_facts_that_somebody_can_say() -> None:
    known = set(RULES.flags) | {name for name, _ in RULES.qualifiers.values()} | {"doubt"}
    known |= {measure.name for measure in RULES.measures.values()}
    for combination in RULES.combinations:
        for group in combination.needs:
            for condition in group:
                assert condition.name in known, combination.id


def test_answers_to_asked_questions_name_rules_that_exist() -> None:
    for name, row in RULES.cues.items():
        if row["kind"] == "asks":
            assert row["code"] in RULES.flags, name


def test_phrases_are_split_at_lines_and_bars_outside_brackets() -> None:
    assert phrases("a b | (c|d) e\n# remark\nf # g\n\n") == ["a b", "(c|d) e", "f"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("x.toml", "schema = [", "x.toml"),
        ("x.toml", "schema = 99", f"schema is not {SCHEMA}"),
        ("x.toml", 'schema = 1\n[[flag]]\ncategory = "chest"', "x.toml"),
        ("x.toml", 'schema = 1\n[[flag]]\ncode = "x"\ncategory = "nose"', "x.toml: x"),
        ("x.toml", 'schema = 1\n[[flag]]\ncode = "x"\nlevel = "soonish"', "x.toml: x"),
        ("x.toml", 'schema = 1\n[[flag]]\ncode = "x"\nen = "(a"', "x.toml: x"),
        ("x.toml", 'schema = 1\n[[measure]]\nname = "x"\nen = "a"', "x.toml: x"),
        ("x.toml", 'schema = 1\n[[combination]]\nid = "x"\ncategory = "chest"\nneeds = ["a<b"]', "x.toml: x"),
    ],
)
def test_a_broken_file_stops_the_start_and_is_named(file: str, text: str, message: str) -> None:
    with pytest.raises(RuleFileError, match=re.escape(message)):
        load_rulebook({**TEXTS, file: text})


FLAG = 'schema = 1\n[[flag]]\ncode = "x"\n'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FLAG + 'category = "chest"\nen = "zebra"', "x: category without level"),
        (FLAG + 'level = "nurse_now"\nen = "zebra"', "x: level without category"),
        (FLAG + 'category = "chest"\nlevel = "nurse_now"', "x: no en"),
        (FLAG + 'category = "chest"\nlevel = "nurse_now"\nen = """\n# nothing\n"""', "x: en has no phrase"),
        (FLAG + 'en = "zebra"\nes = ""', "x: es has no phrase"),
        (FLAG + "en = 3", "x: en is not a text"),
        (FLAG + 'en = "zebra"\nspanish = "cebra"', "x: unknown key 'spanish'"),
        (FLAG + 'en = "zebra"\nlevle = "nurse_now"', "x: unknown key 'levle'"),
        (FLAG + 'en = "my <zebra> hurts"', "x: 'my <zebra> hurts': nobody defines <zebra>"),
        (FLAG + 'en = "a"', "x: 'a': one letter is no phrase"),
        (FLAG + 'en = "zebra | q zebra?"', "x: 'q zebra?': one letter is no phrase"),
        (FLAG + 'en = "z*"', "x: 'z*': one letter is no phrase"),
        ('schema = 1\n[[flag]]\nen = "zebra"', "flag number 1: no code"),
        ('schema = 1\n[flag]\ncode = "x"', "flag: write [[flag]]"),
        ('schema = 1\n[[flags]]\ncode = "x"', "top: unknown key 'flags'"),
        ("schema = 1\n[class.zebra]", "zebra: no phrase in any language"),
        ('schema = 1\n[cue.zebra]\nen = "zebra"', "zebra: no kind"),
        ('schema = 1\n[cue.negate_long]\nkind = "shield"\nen = "zebra"', "negate_long: cue stands in assertion.toml"),
        ('schema = 1\n[[qualifier]]\nname = "zebra"', "zebra: no phrase in any language"),
        (
            'schema = 1\n[[flag]]\ncode = "chest_pain"\ncategory = "limb"\nlevel = "nurse_now"\nen = "zebra"',
            "chest_pain: code stands in flags_heart.toml",
        ),
        ('schema = 1\n[[flag]]\ncode = "chest_pain"\nen = "zebra"', "chest_pain: code stands in flags_heart.toml"),
        (
            'schema = 1\n[[combination]]\nid = "x"\ncategory = "chest"\nneeds = ["hopeless"]\nneed = 1',
            "x: unknown key 'need'",
        ),
    ],
)
def test_a_slip_of_the_pen_is_named_with_file_entry_and_reason(text: str, reason: str) -> None:
    with pytest.raises(RuleFileError) as caught:
        load_rulebook({**TEXTS, "x.toml": text})
    assert str(caught.value).startswith(f"x.toml: {reason}")
    assert "\n" not in str(caught.value)


def test_a_category_without_a_row_stops_the_start() -> None:
    with pytest.raises(RuleFileError, match="categories"):
        load_rulebook({name: text for name, text in TEXTS.items() if name != "categories.toml"})


def test_the_version_changes_with_any_rule() -> None:
    other = load_rulebook({**TEXTS, "x.toml": 'schema = 1\n[[flag]]\ncode = "x"\nen = "zebra crossing"'})
    assert dict(other.versions)["rules"] != dict(RULES.versions)["rules"]
