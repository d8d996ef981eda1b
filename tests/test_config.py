"""Promise: a wrong setting is refused at start, in one line that names the field and where it came from."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from triage.config import NUMBERS, Settings, default_data_dir, documented, load
from triage.errors import SettingError


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a triage.toml."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_set_gives_the_demo(nowhere: Path) -> None:
    settings = load(env={})
    assert (settings.profile, settings.emergency_number, settings.vad_pause_threshold) == ("demo", "911", 0.3)


def test_argument_beats_environment_beats_file_beats_default(nowhere: Path) -> None:
    (nowhere / "triage.toml").write_text('turn_cut_s = 20\nstretch_words = 11\ndata_dir = "/from/file"\n')
    settings = load(env={"TRIAGE_STRETCH_WORDS": "12", "TRIAGE_DATA_DIR": "/from/env"}, data=Path("/from/argument"))
    assert (settings.turn_cut_s, settings.stretch_words, settings.data_dir) == (20, 12, Path("/from/argument"))


def test_the_file_may_be_named_by_argument_or_variable(nowhere: Path) -> None:
    file = nowhere / "other.toml"
    file.write_text("stretch_words = 7\n")
    assert load(file, env={}).stretch_words == load(env={"TRIAGE_CONFIG": str(file)}).stretch_words == 7


def test_a_word_list_in_the_environment_is_separated_by_commas(nowhere: Path) -> None:
    assert load(env={"TRIAGE_ALWAYS_INTERRUPT": "stop, hold on,"}).always_interrupt == ("stop", "hold on")


@pytest.mark.parametrize("region", NUMBERS)
def test_the_region_gives_its_numbers_unless_they_are_set(region: str, nowhere: Path) -> None:
    settings = load(env={"TRIAGE_REGION": region, "TRIAGE_POISON_NUMBER": "123"})
    assert (settings.emergency_number, settings.crisis_number) == NUMBERS[region][:2]
    assert settings.poison_number == "123"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRIAGE_VAD_OFF_THRESHOLD", "0.9"),
        ("TRIAGE_VAD_PAUSE_THRESHOLD", "0.6"),
        ("TRIAGE_TURN_CUT_S", "40"),
        ("TRIAGE_TURN_SILENCE_SHORT_MS", "600"),
        ("TRIAGE_STRETCH_STABLE_S", "9"),
        ("TRIAGE_WORDLESS_BURST_MS", "ten"),
        ("TRIAGE_CONFIDENCE_REAL", "1.2"),
        ("TRIAGE_PROFILE", "live"),
        ("TRIAGE_EMERGENCY_NUMBER", "nine"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(variable: str, value: str, nowhere: Path) -> None:
    with pytest.raises(SettingError) as refused:
        load(env={variable: value})
    message = str(refused.value)
    assert variable in message and variable.removeprefix("TRIAGE_").lower() in message
    assert "\n" not in message


def test_a_misspelt_name_is_refused_and_the_right_one_offered(nowhere: Path) -> None:
    with pytest.raises(SettingError, match="did you mean turn_cut_s"):
        load(env={"TRIAGE_TURN_CUTS": "20"})
    (nowhere / "triage.toml").write_text("vad_of_threshold = 0.3\n")
    with pytest.raises(SettingError, match=r"triage\.toml: vad_of_threshold is no setting; did you mean vad_off"):
        load(env={})


def test_somebody_elses_variable_is_left_alone(nowhere: Path) -> None:
    assert load(env={"TRIAGE_SHARED": "/x", "TRIAGE_SERVICE_HOST": "10.0.0.1"}).profile == "demo"


@pytest.mark.parametrize("content", [b"a = = 1", b"\xff\xfe", b"[profile"])
def test_a_broken_file_is_one_line(content: bytes, nowhere: Path) -> None:
    (nowhere / "triage.toml").write_bytes(content)
    with pytest.raises(SettingError, match=r"triage\.toml") as refused:
        load(env={})
    assert "\n" not in str(refused.value)


def test_a_file_that_is_named_and_absent_is_refused(nowhere: Path) -> None:
    with pytest.raises(SettingError, match=r"absent\.toml: cannot be read"):
        load(nowhere / "absent.toml", env={})


def test_production_refuses_audio_in_the_clear_and_a_missing_directory(nowhere: Path) -> None:
    with pytest.raises(SettingError, match="keep_audio"):
        load(env={"TRIAGE_PROFILE": "production"})
    with pytest.raises(SettingError, match="nurse_directory"):
        load(env={"TRIAGE_PROFILE": "production", "TRIAGE_KEEP_AUDIO": "false"})


def test_production_refuses_the_bench(nowhere: Path) -> None:
    nearly = {"TRIAGE_PROFILE": "production", "TRIAGE_KEEP_AUDIO": "false", "TRIAGE_NURSE_DIRECTORY": "nurses.toml"}
    with pytest.raises(SettingError, match="line_sip"):
        load(env=nearly)


@pytest.mark.parametrize("profile", ["staging", "production"])
def test_in_earnest_the_operator_says_that_a_packet_filter_keeps_strangers_out(profile: str, nowhere: Path) -> None:
    """livekit-server also believes what From says; only the network knows where a packet comes from."""
    nearly = {
        "TRIAGE_PROFILE": profile,
        "TRIAGE_KEEP_AUDIO": "false",
        "TRIAGE_NURSE_DIRECTORY": "nurses.toml",
        "TRIAGE_LINE_SIP": "livekit-sip",
    }
    with pytest.raises(SettingError, match=r"setting line_packet_filter .*line_carrier_addresses"):
        load(env=nearly)
    assert load(env={**nearly, "TRIAGE_LINE_PACKET_FILTER": "true"}).profile == profile


@pytest.mark.parametrize(
    ("given", "network"),
    [
        ("198.51.100.7", "198.51.100.7/32"),
        ("192.0.2.0/28", "192.0.2.0/28"),
        ("192.0.2.9/28", "192.0.2.0/28"),
        ("192.0.2.0/255.255.255.240", "192.0.2.0/28"),
        ("2001:DB8::7", "2001:db8::7/128"),
    ],
)
def test_carriers_addresses_are_networks_in_the_one_notation_that_the_server_reads(
    given: str, network: str, nowhere: Path
) -> None:
    assert load(env={"TRIAGE_LINE_CARRIER_ADDRESSES": given}).line_carrier_addresses == (network,)


def test_carriers_in_the_environment_are_separated_by_commas(nowhere: Path) -> None:
    carriers = load(env={"TRIAGE_LINE_CARRIER_ADDRESSES": "192.0.2.0/28, 198.51.100.7"}).line_carrier_addresses
    assert carriers == ("192.0.2.0/28", "198.51.100.7/32")


@pytest.mark.parametrize(
    ("variables", "field"),
    [
        ({"TRIAGE_LINE_CARRIER_ADDRESSES": "carrier.example"}, "line_carrier_addresses"),
        ({"TRIAGE_LINE_CARRIER_ADDRESSES": ""}, "line_carrier_addresses"),
        ({"TRIAGE_LINE_CARRIER_ADDRESSES": "0.0.0.0/0"}, "line_carrier_addresses"),
        ({"TRIAGE_LINE_CARRIER_ADDRESSES": "fe80::1%lo"}, "line_carrier_addresses"),
        ({"TRIAGE_LINE_SIP_ADDRESS": "sip.example"}, "line_sip_address"),
        ({"TRIAGE_LINE_SIP_ADDRESS": "0.0.0.0", "TRIAGE_LINE_SIP": "livekit-sip"}, "line_sip_address"),
        ({"TRIAGE_LINE_SIP_ADDRESS": "192.0.2.7"}, "line_sip_address"),
        ({"TRIAGE_LINE_PUBLIC_ADDRESS": "192.0.2.7"}, "line_public_address"),
        ({"TRIAGE_LINE_PUBLIC_ADDRESS": "carrier", "TRIAGE_LINE_SIP": "livekit-sip"}, "line_public_address"),
        ({"TRIAGE_LINE_MEDIA_TIMEOUT_S": "15"}, "line_media_timeout_s"),
        ({"TRIAGE_LINE_SERVER_PORT": "6390"}, "line_server_port"),
        ({"TRIAGE_LINE_RTP_FIRST_PORT": "65000", "TRIAGE_LINE_RTP_PORTS": "2000"}, "line_rtp_ports"),
        ({"TRIAGE_LINE_NUMBER": "tel:12345"}, "line_number"),
        ({"TRIAGE_LINE_NURSE_ADDRESS": "nurse@queue"}, "line_nurse_address"),
    ],
)
def test_a_wrong_telephone_line_is_refused_by_name(variables: dict[str, str], field: str, nowhere: Path) -> None:
    with pytest.raises(SettingError, match=f"setting {field}"):
        load(env=variables)


def test_settings_are_frozen(nowhere: Path) -> None:
    with pytest.raises(ValidationError):
        load(env={}).turn_cut_s = 5


def test_the_line_adds_its_allowance(nowhere: Path) -> None:
    settings = load(env={})
    assert [settings.allowance_ms(kind) for kind in ("telephone", "web", "simulated")] == [280, 100, 0]


def test_the_data_folder_is_where_xdg_says() -> None:
    assert default_data_dir({"XDG_DATA_HOME": "/d"}) == Path("/d/triage-line")
    assert default_data_dir({}).parts[-3:] == (".local", "share", "triage-line")


def test_every_field_is_documented() -> None:
    rows = documented()
    assert [name for name, _, _ in rows] == list(Settings.model_fields)
    assert all(meaning.endswith(".") and default for _, default, meaning in rows)
