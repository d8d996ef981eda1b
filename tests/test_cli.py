"""Promise: whatever goes wrong at the terminal is one line that names the thing and the remedy, and an exit code."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.terminal import Terminal, terminal
from triage import cli
from triage.errors import Unavailable


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def triage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return terminal(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("nonsense",), "nonsense"),
        (("demo", "--fst"), "--fast"),
        (("demo", "chestpain"), "did you mean chest_pain"),
        (("demo", "--seed", "x"), "--seed"),
        (("--config", "absent.toml", "doctor"), "absent.toml"),
        (("demo", "--wav", "absent.wav"), "absent.wav"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], names: str, triage: Terminal) -> None:
    code, _, err = triage(*arguments)
    assert code == 2
    assert err.startswith("triage: ") and names in err and err.count("\n") == 1


def test_a_bad_setting_is_one_line(triage: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_TURN_CUT_S", "99")
    code, _, err = triage("doctor")
    assert code == 2 and "TRIAGE_TURN_CUT_S" in err and err.count("\n") == 1


def test_a_failed_engine_is_one_line_and_exit_code_1(triage: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Unavailable("stt", "gone")

    monkeypatch.setattr(cli, "app", broken)
    assert triage("doctor") == (1, "", "triage: stt: gone\n")


@pytest.mark.parametrize(
    ("number", "remedy"), [(28, "--data"), (30, "read-only"), (13, "permissions")], ids=["full", "read-only", "denied"]
)
def test_a_folder_that_cannot_be_written_is_one_line(
    number: int, remedy: str, triage: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(number, "no", "/some/folder")

    monkeypatch.setattr(cli, "app", broken)
    code, _, err = triage("doctor")
    assert code == 1 and "/some/folder" in err and remedy in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["doctor", "nurse", "worker", "keeper", "sip-bench"])
def test_the_unexpected_leaves_kinds_and_places_and_no_word(
    command: str, triage: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever carries calls writes no file at all: its log has the line."""
    number, words = "+15557654321", "a caller's words"

    def broken(*_: object, obj: cli.Common, **__: object) -> None:
        obj.command = command
        try:
            raise KeyError(number)
        except KeyError as error:
            raise ZeroDivisionError(words) from error

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, _, err = triage(command)
    left = "".join(path.read_text() for path in tmp_path.glob("triage-error-*.txt"))
    assert code == 1 and err.count("\n") == 1 and "ZeroDivisionError at tests.test_cli:" in err
    assert words not in err + left and number not in err + left
    if command in ("doctor", "nurse"):
        assert str(next(tmp_path.glob("triage-error-*.txt"))) in err
        assert left.index("KeyError") < left.index("ZeroDivisionError") and "in broken" in left
    else:
        assert not left


def test_the_command_is_known_where_the_unexpected_ends(triage: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("triage.keeping.keep", broken)
    monkeypatch.setattr("triage.privacy.install", lambda *_: None)
    code, _, err = triage("keeper")
    assert code == 1 and "details are in" not in err and "ZeroDivisionError at tests.test_cli:" in err


@pytest.mark.parametrize("command", ["keeper", "doctor"])
def test_programs_name_the_settings_file_that_they_took(
    command: str, triage: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that lies in the current folder is taken unasked: a program says so, and hands its whole path on."""
    monkeypatch.setattr("triage.keeping.keep", lambda _: 0)
    monkeypatch.setattr("triage.privacy.install", lambda *_: None)
    assert "settings" not in triage(command, "--data", str(tmp_path / "data"))[2]
    (tmp_path / "triage.toml").write_text('region = "us"\n', encoding="utf-8")
    _, _, err = triage(command, "--data", str(tmp_path / "data"))
    assert err == (f"triage: settings of {tmp_path / 'triage.toml'}\n" if command == "keeper" else "")


def test_a_settings_file_is_handed_on_by_its_whole_path(nowhere: Path) -> None:
    (nowhere / "triage.toml").write_text("")
    common = cli.Common(command="worker")
    common.settings()
    assert common.config == nowhere / "triage.toml"


def test_no_program_leaves_a_core_behind_nor_what_it_starts(tmp_path: Path) -> None:
    """A core holds what callers said. The limit goes down to the engines, whatever the shell had allowed.

    One byte: no core fits, and Linux gives none to a program that collects them either, as it does with a limit of 0.
    """
    program = """if True:
        import resource, subprocess, sys
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        from triage import cli
        sys.argv = ["triage", "settings"]
        try:
            cli.main()
        except SystemExit:
            pass
        print(resource.getrlimit(resource.RLIMIT_CORE))
        print(hard, flush=True)
        limit = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
        subprocess.run([sys.executable, "-c", limit], check=True)
        """
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    ours, hard, theirs = told.stdout.splitlines()[-3:]
    assert ours == theirs == ("(0, 0)" if hard == "0" else "(1, 1)")


def test_without_a_command_there_is_help(triage: Terminal) -> None:
    code, out, err = triage()
    assert code == 2 and "demo" in out and not err


def test_the_list_names_at_least_ten_scenarios_and_their_recogniser(triage: Terminal) -> None:
    code, out, _ = triage("demo", "--list")
    rows = out.splitlines()
    assert code == 0 and len(rows) >= 10
    assert all(row.split()[1] in ("pocketsphinx", "scripted") for row in rows)


def test_doctor_says_what_would_stop_production(triage: Terminal, tmp_path: Path) -> None:
    code, out, err = triage("doctor", "--data", str(tmp_path / "data"))
    assert (code, err) == (0, "")
    assert "nurse_directory" in out and "speech to text: pocketsphinx" in out and "keep_audio" in out
    assert not (tmp_path / "data").exists(), "doctor only looks"


def test_doctor_refuses_a_data_folder_under_a_file(triage: Terminal, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, _ = triage("doctor", "--data", str(tmp_path / "file" / "data"))
    assert code == 1 and "missing  data folder" in out


def test_help_imports_no_engine() -> None:
    heavy = (
        "numpy onnxruntime pocketsphinx sqlmodel sqlalchemy cryptography soundfile soxr rich.live pydantic transitions"
    )
    program = (
        "import sys, contextlib, io\n"
        "from triage.cli import main\n"
        "sys.argv = ['triage', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])\n"
    )
    root = Path(__file__).resolve().parents[1]
    told = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]", "--help must answer at once"


def test_the_module_is_the_command() -> None:
    root = Path(__file__).resolve().parents[1]
    told = subprocess.run(
        [sys.executable, "-m", "triage", "--help"], cwd=root, capture_output=True, text=True, check=True
    )
    assert "Usage: triage" in told.stdout


@pytest.mark.slow
def test_whatever_a_call_leaves_is_its_owner_s_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [sys.executable, "-m", "triage", "--data", str(data), "demo", "low_mood", "--fast"]
    subprocess.run(command, check=True, capture_output=True)
    left = [data, *data.rglob("*")]
    assert len(left) > 5
    assert [str(path) for path in left if path.stat().st_mode & 0o077] == []
