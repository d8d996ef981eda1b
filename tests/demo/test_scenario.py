"""Promise: every scenario that ships can be read and played; a wrong one is refused in one line."""

import pytest

from triage.demo import scenario as sc
from triage.errors import AssetError, UsageError

DEMANDED = {
    "chest_pain",
    "not_breathing",
    "third_turn",
    "never_pauses",
    "sore_throat",
    "barge_in",
    "silent",
    "gasping",
    "asks_person",
    "nurse_no_answer",
}
HEARD_BY_THE_REAL_ONE = {"chest_pain", "third_turn", "sore_throat", "barge_in", "asks_person"}


def test_the_demanded_scenarios_exist() -> None:
    assert set(sc.names()) >= DEMANDED


@pytest.mark.parametrize("name", sc.names())
def test_a_scenario_reads_and_is_named_after_its_file(name: str) -> None:
    scenario = sc.load(name)
    assert scenario.name == name
    assert scenario.title and scenario.watch


@pytest.mark.parametrize("name", sc.names())
def test_what_the_local_recogniser_cannot_follow_is_scripted(name: str) -> None:
    scenario = sc.load(name)
    bad = scenario.line.mu_law or scenario.line.noise_db is not None or scenario.line.echo_db is not None
    assert not (bad and scenario.recogniser == "pocketsphinx")
    if name in HEARD_BY_THE_REAL_ONE:
        assert scenario.recogniser == "pocketsphinx"


def test_an_unknown_name_offers_near_ones() -> None:
    with pytest.raises(UsageError, match="did you mean not_breathing") as refused:
        sc.load("not_breathin")
    assert "\n" not in str(refused.value)
    with pytest.raises(UsageError, match="--list"):
        sc.load("../../etc/passwd")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("schema = ", "no TOML"),
        ('schema = 2\nname = "a"\ntitle = "t"', "schema"),
        ('schema = 1\nname = "A b"\ntitle = "t"', "name"),
        ('schema = 1\nname = "a"\ntitle = "t"\ncolour = "red"', "colour"),
        ('schema = 1\nname = "a"\ntitle = "t"\n[[caller]]\nline = "x"\nkey = "1"', "exactly one"),
        ('schema = 1\nname = "a"\ntitle = "t"\n[[caller]]\nwhen = "prompt"\nline = "x"', "prompt"),
        ('schema = 1\nname = "a"\ntitle = "t"\n[[nurses]]\nphone = "asleep"', "nurses.0.phone"),
        ('schema = 1\nname = "a"\ntitle = "t"\n[line]\nloss = 0.9', "line.loss"),
    ],
)
def test_a_broken_scenario_is_one_line_that_names_the_place(text: str, names: str) -> None:
    with pytest.raises(AssetError) as refused:
        sc.parse(text, "scenario x")
    message = str(refused.value)
    assert message.startswith("scenario x: ") and names in message and "\n" not in message


def test_line_ids_cover_script_answers_and_nurses() -> None:
    text = (
        'schema = 1\nname = "a"\ntitle = "t"\n[[nurses]]\nsays = "n"\n[[caller]]\nline = "x"\n[[caller]]\nkey = "1"\n'
        '[answers]\nq1 = "y"\nq2 = ["z", "x"]\n'
    )
    assert sc.parse(text, "s").line_ids() == {"n", "x", "y", "z"}
