"""Promise: a line's files hold loopback and nothing else, its secrets are the owner's alone, its ports are free."""

import json
import re
import socket
import stat
from pathlib import Path

import pytest

from triage.config import Settings, load
from triage.errors import StorageError, UsageError
from triage.up import line_files

ANY_PORT = {f"TRIAGE_LINE_{name}_PORT": "0" for name in ("REDIS", "SERVER", "MEDIA", "SIP", "WORKER")}


def settings(folder: Path, **variables: str) -> Settings:
    audio = {"TRIAGE_LINE_RTP_FIRST_PORT": "29500", "TRIAGE_LINE_RTP_PORTS": "8"}
    return load(data=folder, env={"HOME": str(folder), **ANY_PORT, **audio, **variables})


def test_secrets_are_made_once_and_belong_to_the_owner(tmp_path: Path) -> None:
    first, second = (line_files.prepare(settings(tmp_path)) for _ in range(2))
    assert first.access == second.access
    assert len(first.access.api_secret) >= 32
    for path in first.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path.name
    assert stat.S_IMODE(first.folder.stat().st_mode) == 0o700


def test_no_secret_is_shown_by_accident(tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    assert line.access.api_secret not in repr(line)
    assert line.access.redis_password not in repr(line)


def test_others_read_what_was_settled(tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    assert line_files.opened(settings(tmp_path)) == line


def test_before_the_first_start_there_is_nothing_to_open(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="triage up"):
        line_files.opened(settings(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"api_key": "short"}', '{"api_key": 5}'])
def test_broken_secrets_are_named_and_never_replaced_silently(text: str, tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    (line.folder / line_files.SECRETS).write_text(text)
    with pytest.raises(StorageError, match=r"secrets\.json"):
        line_files.prepare(settings(tmp_path))


def test_broken_ports_are_named(tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    (line.folder / line_files.PORTS).write_text(json.dumps({"redis": 1}))
    with pytest.raises(StorageError, match=r"ports\.json"):
        line_files.opened(settings(tmp_path))


def test_secrets_that_others_may_read_are_refused(tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    (line.folder / line_files.SECRETS).chmod(0o644)
    with pytest.raises(StorageError, match="others may read it"):
        line_files.opened(settings(tmp_path))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "line").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="line"):
        line_files.prepare(settings(tmp_path))


# --- configurations


def test_every_address_is_loopback(tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    for name, text in line_files.configurations(settings(tmp_path), line).items():
        addresses = re.findall(r"\b\d+\.\d+\.\d+\.\d+\b|\[?::\]?|localhost|stun:|https?:", text)
        addresses = [found for found in addresses if not found.startswith("1.11.0")]
        assert addresses and set(addresses) == {line_files.LOOPBACK}, name


def read_yaml(text: str) -> dict[str, str]:
    """Scalars of our own YAML by their path, as in "rtc.tcp_port"."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in text.splitlines():
        name, colon, value = line.partition("#")[0].rstrip().partition(":")
        if colon:
            above = [*above[: (len(name) - len(name.lstrip())) // 2], name.strip().strip('"')]
            found[".".join(above)] = value.strip()
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("bind_addresses", f'["{line_files.LOOPBACK}"]'),
        ("rtc.stun_servers", f'["{line_files.NO_STUN}"]'),
        ("rtc.node_ip", line_files.LOOPBACK),
        ("rtc.use_external_ip", "false"),
        ("rtc.tcp_port", "0"),
        ("rtc.interfaces.includes", f"[{line_files.LOOPBACK_INTERFACE}]"),
        ("agents.enable_user_data_recording", "false"),
        ("agents.enable_user_data_redaction", "true"),
        ("agents.target_load", "1.0"),
        ("logging.level", "warn"),
        ("logging.pion_level", "error"),
    ],
)
def test_livekit_server_is_told_what_its_defaults_would_give_away(path: str, value: str, tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    assert read_yaml((line.folder / line_files.LIVEKIT_YAML).read_text())[path] == value
    assert line_files.NO_STUN.startswith("127.0.0.1:"), "nobody else is asked"


def test_secrets_stand_in_the_files_that_need_them_and_no_others(tmp_path: Path) -> None:
    line = line_files.prepare(settings(tmp_path))
    holding = {
        path.name for path in line.folder.iterdir() if path.is_file() and line.access.api_secret in path.read_text()
    }
    assert holding == {line_files.SECRETS, line_files.LIVEKIT_YAML, line_files.SIP_YAML}


def test_settings_reach_livekits_own_sip_service(tmp_path: Path) -> None:
    chosen = settings(tmp_path, TRIAGE_LINE_MEDIA_TIMEOUT_S="900")
    line = line_files.prepare(chosen)
    text = (line.folder / line_files.SIP_YAML).read_text()
    for wanted in ("media_timeout: 900s", "rtp_port: 29500-29507", f"sip_port: {line.ports.sip}", "level: warn"):
        assert wanted in text
    assert "health_port" not in text, "it would listen on every interface"


def test_where_telephones_ring_reaches_livekits_own_sip_service_and_nothing_else(tmp_path: Path) -> None:
    """`127.0.0.3` stands for an address of this machine that a carrier reaches, 198.51.100.7 for that of its router."""
    at = {"TRIAGE_LINE_SIP": "livekit-sip", "TRIAGE_LINE_SIP_ADDRESS": "127.0.0.3"}
    line = line_files.prepare(settings(tmp_path, **at))
    text = (line.folder / line_files.SIP_YAML).read_text()
    assert "\nlisten_ip: 127.0.0.3\nnat_1_to_1_ip: 127.0.0.3\n" in text
    for name in (line_files.LIVEKIT_YAML, line_files.REDIS_CONF):
        assert "127.0.0.3" not in (line.folder / name).read_text()
    behind = settings(tmp_path / "behind", **at, TRIAGE_LINE_PUBLIC_ADDRESS="198.51.100.7")
    text = (line_files.prepare(behind).folder / line_files.SIP_YAML).read_text()
    assert "\nlisten_ip: 127.0.0.3\nnat_1_to_1_ip: 198.51.100.7\n" in text


def test_a_sip_address_of_another_machine_is_named(tmp_path: Path) -> None:
    elsewhere = settings(tmp_path, TRIAGE_LINE_SIP="livekit-sip", TRIAGE_LINE_SIP_ADDRESS="192.0.2.7")
    with pytest.raises(UsageError, match=r"192\.0\.2\.7 \(setting line_sip_address\) is no address of this machine"):
        line_files.prepare(elsewhere)


def test_the_sip_port_is_looked_at_where_it_will_be_held(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.3", 0))
        port = str(taken.getsockname()[1])
        at = {"TRIAGE_LINE_SIP": "livekit-sip", "TRIAGE_LINE_SIP_PORT": port}
        with pytest.raises(UsageError, match=rf"port {port} \(setting line_sip_port\) is taken"):
            line_files.prepare(settings(tmp_path, **at, TRIAGE_LINE_SIP_ADDRESS="127.0.0.3"))
        line_files.prepare(settings(tmp_path, **at))


def test_redis_keeps_nothing_on_disk_and_asks_for_a_password(tmp_path: Path) -> None:
    text = line_files.redis_conf(line_files.prepare(settings(tmp_path)))
    assert 'save ""' in text and "appendonly no" in text and "\nrequirepass " in text


def test_redis_speaks_from_warnings_on_and_to_its_supervisor_alone(tmp_path: Path) -> None:
    lines = line_files.redis_conf(line_files.prepare(settings(tmp_path))).splitlines()
    assert "loglevel warning" in lines and 'logfile ""' in lines


# --- ports


def test_any_free_port_is_found_and_no_two_are_the_same(tmp_path: Path) -> None:
    ports = line_files.free_ports(settings(tmp_path))
    chosen = [ports.redis, ports.server, ports.media, ports.sip, ports.worker]
    assert len(set(chosen)) == 5 and all(port > 1023 for port in chosen)
    assert not set(chosen) & set(range(ports.rtp_first, ports.rtp_last + 1))


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("line_redis_port", socket.SOCK_STREAM),
        ("line_server_port", socket.SOCK_STREAM),
        ("line_media_port", socket.SOCK_DGRAM),
        ("line_sip_port", socket.SOCK_DGRAM),
        ("line_sip_port", socket.SOCK_STREAM),
        ("line_worker_port", socket.SOCK_STREAM),
    ],
)
def test_a_port_that_is_taken_is_named_with_its_setting(setting: str, kind: socket.SocketKind, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind((line_files.LOOPBACK, 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} \(setting {setting}\) is taken"):
            line_files.prepare(settings(tmp_path, **{f"TRIAGE_{setting.upper()}": str(port)}))


def test_an_audio_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((line_files.LOOPBACK, 0))
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=r"port \d+ \(setting line_rtp_first_port\) is taken"):
            line_files.prepare(settings(tmp_path, TRIAGE_LINE_RTP_FIRST_PORT=str(port - 3)))


def test_a_port_among_the_audio_ports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line_sip_port\) lies among the audio ports"):
        line_files.prepare(settings(tmp_path, TRIAGE_LINE_SIP_PORT="29503"))
