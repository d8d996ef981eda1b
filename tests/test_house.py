"""Promise: the house is in order: borders between the rooms, tests, settings, alarms, diagram, packages, pinned versions."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fsm import diagram
from triage import watch
from triage.readme import SETTINGS_START, renewed

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("audio_assets", "audit", "classifiers", "fsm", "triage")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")

_CALLS = "part of a call: lived through in every scenario, tests/demo/test_run.py"
_RULES = "part of the rules: judged through the classifier, tests/classifiers"
_TABLE = "rows of the table: each is stepped, tests/fsm"
_TRAINING = "run by `make train`, which compares the file it makes; no call needs it"
_STORE = "run by every test that opens a store"
_PHONES = "part of the agent: lived through in tests/line/test_agent.py and with real phones"
TESTED_THROUGH_OTHERS = {
    "audit.migrations.env": _STORE,
    "audit.migrations.versions.v0001_first": _STORE,
    "classifiers.answers": _RULES,
    "classifiers.assertion": _RULES,
    "classifiers.features": _RULES,
    "classifiers.given": _RULES,
    "classifiers.language": _RULES,
    "classifiers.layers": _RULES,
    "classifiers.model": _RULES,
    "classifiers.numbers": _RULES,
    "classifiers.patterns": _RULES,
    "classifiers.questions": _RULES,
    "classifiers.rule_call": _RULES,
    "classifiers.tokens": _RULES,
    "classifiers.training.card": _TRAINING,
    "classifiers.training.corpus": _TRAINING,
    "classifiers.training.fit": _TRAINING,
    "classifiers.training.generate": _TRAINING,
    "classifiers.training.score": _TRAINING,
    "classifiers.training.train": _TRAINING,
    "fsm.alarms": _TABLE,
    "fsm.draft": _TABLE,
    "fsm.plans_end": _TABLE,
    "fsm.plans_handoff": _TABLE,
    "fsm.plans_talk": _TABLE,
    "triage.__main__": "a program: started by tests/test_cli.py",
    "triage.bench.sip.call": _PHONES,
    "triage.bench.sip.dialling": _PHONES,
    "triage.bench.sip.transfer": _PHONES,
    "triage.dialogue.state": "what the interview remembers: tests/dialogue/test_interview.py",
    "triage.line_events": _CALLS,
    "triage.nursing": _CALLS,
    "triage.replies": _CALLS,
    "triage.stages.pocketsphinx_child": "a program: started by its parent's tests",
    "triage.stages.told_stt": "what the scripted recognisers share: their tests, tests/stages",
    "triage.stopwatch": _CALLS,
}
"""Modules that no test imports, each with the reason."""


def modules() -> list[str]:
    """Every module of ours with something in it, dotted."""
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            if any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body):
                parts = path.relative_to(ROOT).with_suffix("").parts
                found.append(".".join(parts).removesuffix(".__init__"))
    return found


def imported_by(path: Path) -> Iterator[str]:
    """Dotted names that one file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tracked() -> list[Path]:
    """Every file under version control; where git or its folder is missing, every file that would be."""
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode == 0 and told.stdout:
        return [ROOT / name for name in told.stdout.split("\0") if name and (ROOT / name).is_file()]
    skipped = {".git", ".venv", "build", "dist", "__pycache__"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not skipped & set(p.relative_to(ROOT).parts)]


# --- borders


def test_the_rooms_keep_their_borders() -> None:
    look = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", look]  # a process of its own: in here it would mute our loggers
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


LINE_PACKAGES = ("G722", "aiohttp", "google.protobuf", "livekit", "psutil", "redis", "sipmessage")
"""Packages of the telephone line: the demo and its tests run where none of them is."""
LINE_ROOMS = ("triage/bench/", "triage/up/", "triage/lines/livekit", "triage/worker.py")


def test_only_the_telephone_line_imports_its_packages() -> None:
    guilty = []
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            strays = {package for package in imported_by(path) if package.startswith(LINE_PACKAGES)}
            if strays and not name.startswith(LINE_ROOMS):
                guilty.append((name, sorted(strays)))
    assert guilty == []


def test_the_worker_alone_imports_livekit_agents() -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if any(name.startswith("livekit.agents") for name in imported_by(path)) and path.stem != "worker"
    ]
    assert guilty == []


# --- tests


def test_every_module_is_imported_by_a_test_or_excused() -> None:
    imported = {name for path in (ROOT / "tests").rglob("*.py") for name in imported_by(path)}
    untested = [name for name in modules() if name not in imported and name not in TESTED_THROUGH_OTHERS]
    assert untested == [], "write a test, or a reason in TESTED_THROUGH_OTHERS"


def test_nobody_is_excused_without_need() -> None:
    assert set(TESTED_THROUGH_OTHERS) <= set(modules())


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_a_test_file_opens_with_its_promise(path: Path) -> None:
    opening = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert opening and len(opening) > 20


# --- what is written about the code


def test_readme_has_every_setting_and_the_machines_own_diagram() -> None:
    assert SETTINGS_START in README and diagram.README_START in README
    assert renewed(README) == README, "run: make diagram"


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(
        r"\]\(([^)#:]+)\)|`((?:tests|docs|runbooks|triage|fsm|classifiers|audit|audio_assets|benchmarks)/[\w./-]+)`",
        README,
    )
    missing = sorted({a or b for a, b in named if not (ROOT / (a or b)).exists()})
    assert missing == []


def test_every_alarm_has_a_runbook_and_every_runbook_an_alarm() -> None:
    pages = {path.stem for path in (ROOT / "runbooks").glob("*.md")} - {"README"}
    assert pages == set(watch.ALL)


@pytest.mark.parametrize("alarm", watch.ALL)
def test_a_runbook_has_its_five_parts(alarm: str) -> None:
    text = (ROOT / "runbooks" / f"{alarm}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {alarm}\n")
    parts = re.findall(r"^\*\*(.+?)\.\*\*", text, re.MULTILINE)
    assert parts == ["Meaning", "What the caller hears", "Impact", "Diagnosis", "Mitigation"]


def test_no_alarm_is_raised_under_a_name_of_its_own() -> None:
    strays = []
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                given = [k.value for k in node.keywords if k.arg == "alarm"] + (
                    node.args[:1] if called == "page" else []
                )
                strays += [
                    value.value for value in given if isinstance(value, ast.Constant) and value.value not in watch.ALL
                ]
    assert strays == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    home = Path.home()
    places = {str(ROOT), *([f"{home}/"] if home.parent != Path("/") else [])}
    pattern = re.compile("|".join([*map(re.escape, places), r"/(?:home|Users)/[a-z]\w+/"]))
    guilty = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        if pattern.search(text):
            guilty.append(str(path.relative_to(ROOT)))
    assert guilty == []


# --- packaging


def test_every_folder_with_code_or_data_is_a_package_of_the_wheel() -> None:
    folders = {".".join(path.parent.relative_to(ROOT).parts) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(folders)


def test_a_package_is_listed_once() -> None:
    packages = PROJECT["tool"]["setuptools"]["packages"]
    assert len(packages) == len(set(packages))


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-line.txt"])
def test_requirements_are_pinned_by_hash_and_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"https?:|^-|^--", text, re.MULTILINE)
    pins = re.split(r"\n(?=[a-z])", text)
    assert all("==" in pin.splitlines()[0] and "--hash=sha256:" in pin for pin in pins)


@pytest.mark.parametrize(
    ("name", "extras"),
    [
        ("requirements.txt", ["build"]),
        ("requirements-dev.txt", ["build", "dev", "plots", "train"]),
        ("requirements-line.txt", ["build", "dev", "worker", "bench"]),
    ],
)
def test_requirements_cover_what_pyproject_asks_for(name: str, extras: list[str]) -> None:
    asked = list(PROJECT["project"]["dependencies"])
    for extra in extras:
        asked += PROJECT["project"]["optional-dependencies"][extra]
    pinned = re.findall(r"^([a-z0-9._-]+)==", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    wanted = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-") for requirement in asked}
    assert wanted <= {pin.lower().replace("_", "-") for pin in pinned}, "run: make lock"


def test_changelog_and_version_agree() -> None:
    version = PROJECT["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
