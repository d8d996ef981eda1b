"""Promise: the line's programs run our own code, whatever lies in the folder from which the line was started."""

import asyncio
import socket
import subprocess
import threading
from pathlib import Path

import pytest

pytest.importorskip("livekit", reason="the telephone line's packages are not here: requirements-line.txt")

from triage.config import load
from triage.up import line_files, programs
from triage.up.supervisor import Program


@pytest.mark.parametrize("name", ["triage.py", "audit.py", "typer.py"])
def test_a_file_of_the_current_folder_is_not_run(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("raise SystemExit('a stranger')\n", encoding="utf-8")
    settings = load(data=tmp_path / "data", env={})
    done = subprocess.run(
        programs.ours("settings", settings, None), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"data_dir = {tmp_path / 'data'}" in done.stdout


def test_a_sip_service_beyond_loopback_is_asked_and_shown_where_it_listens(tmp_path: Path) -> None:
    (tmp_path / "livekit-sip").write_text("#!/bin/sh\n")
    (tmp_path / "livekit-sip").chmod(0o755)
    env = {"TRIAGE_LINE_SIP": "livekit-sip", "TRIAGE_LINE_SIP_ADDRESS": "127.0.0.3", "TRIAGE_LINE_SIP_PORT": "0"}
    public = {"TRIAGE_LINE_PUBLIC_ADDRESS": "198.51.100.7"}
    settings = load(data=tmp_path / "data", env=env)
    line = line_files.prepare(settings)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        service.bind(("127.0.0.3", line.ports.sip))
        answering = threading.Thread(target=_answer_one, args=(service,))
        answering.start()
        program = programs.sip_program(settings, line, {"PATH": str(tmp_path)}, None)
        assert asyncio.run(_asked(program))
        answering.join()
    assert program.where.startswith(f"127.0.0.3:{line.ports.sip}/udp")
    assert programs.line_to_ring(settings, line) == f"sip:+15550100@127.0.0.3:{line.ports.sip}"
    behind = load(data=tmp_path / "data", env={**env, **public})
    assert programs.line_to_ring(behind, line) == f"sip:+15550100@198.51.100.7:{line.ports.sip}"


async def _asked(program: Program) -> bool:
    return await program.probe()


def _answer_one(service: socket.socket) -> None:
    asked, source = service.recvfrom(4096)
    headers = asked.split(b"\r\n", 1)[1]
    service.sendto(b"SIP/2.0 200 OK\r\n" + headers, source)
