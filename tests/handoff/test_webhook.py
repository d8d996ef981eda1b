"""Promise: the operator's own system gets a signed offer without a word of health, exactly once by its key, and holds nobody up."""

import hashlib
import hmac
import json
import socket
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.handoff.receivers import receiving
from tests.handoff.test_desk import PACKET
from tests.handoff.test_post import posted
from triage.config import load
from triage.errors import SettingError
from triage.handoff.desk import post_of
from triage.handoff.packet import CALLERS_NUMBER, shown_number
from triage.handoff.post import Delivery, Post, Undelivered
from triage.handoff.webhook import REPLAY_WINDOW_S, Webhook, checked, read_secret

SECRET = b"0123456789abcdef"
NOW_NS = 1_767_225_600 * 1_000_000_000


def webhook(url: str, **how: Any) -> Webhook:
    hook = Webhook(url, SECRET, **how)
    hook.delays_s = (0.01, 0.01, 0.01)
    return hook


def accepted(headers: dict[str, str], body: bytes, now_s: int) -> bool:
    """A receiver as docs/line.md asks for one, written without our code."""
    stamp = headers["x-triage-timestamp"]
    signed = "v1=" + hmac.new(SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(signed, headers["x-triage-signature"]) and abs(now_s - int(stamp)) <= 300


def test_the_offer_is_signed_and_the_signature_covers_time_and_body() -> None:
    with receiving() as receiver:
        webhook(receiver.url).deliver(PACKET, wall_ns=NOW_NS)
    ((path, headers, body),) = receiver.requests
    now_s = NOW_NS // 10**9
    assert path == "/packets?ward=2" and headers["content-type"] == "application/json"
    assert accepted(headers, body, now_s) and accepted(headers, body, now_s + REPLAY_WINDOW_S)
    assert not accepted(headers, body, now_s + REPLAY_WINDOW_S + 1), "a replay of yesterday's is refused"
    assert not accepted(headers, body.replace(b"nurse_now", b"routine!!"), now_s)
    assert not accepted({**headers, "x-triage-timestamp": str(now_s + 1)}, body, now_s)


def test_the_offer_holds_code_level_rank_and_times_and_no_word_of_health() -> None:
    with receiving() as receiver:
        webhook(receiver.url).deliver(PACKET, wall_ns=NOW_NS)
    body = json.loads(receiver.requests[0][2])
    assert body == {
        "v": 1, "event": "packet", "call": PACKET.call_id, "code": PACKET.code, "level": "nurse_now",
        "rank": 50, "made_ns": 1, "version": 1,
    }  # fmt: skip
    assert "chest" not in str(receiver.requests)


def test_only_the_setting_lets_words_out() -> None:
    with receiving() as receiver:
        webhook(receiver.url, words=True).deliver(PACKET, wall_ns=NOW_NS)
    body = json.loads(receiver.requests[0][2])
    assert body["category"] == "chest" and body["situation"] == {"caller's words": '"my chest"'}


def test_a_number_that_the_caller_withheld_is_let_out_by_no_setting() -> None:
    number = "+15550147788"
    with receiving() as receiver:
        for withheld in (True, False):
            told = {**PACKET.situation, CALLERS_NUMBER: shown_number(number, withheld=withheld)}
            webhook(receiver.url, words=True).deliver(replace(PACKET, situation=told), wall_ns=NOW_NS)
    withheld_body, shown_body = (request[2] for request in receiver.requests)
    assert number not in str(withheld_body) and number in str(shown_body)
    assert json.loads(withheld_body)["situation"][CALLERS_NUMBER] == "withheld"


def test_the_words_of_a_caller_who_declined_the_record_are_let_out_by_no_setting() -> None:
    with receiving() as receiver:
        webhook(receiver.url, words=True).deliver(replace(PACKET, declined=True), wall_ns=NOW_NS)
    body = json.loads(receiver.requests[0][2])
    assert body["level"] == "nurse_now" and {"category", "reason", "situation"}.isdisjoint(body)
    assert "chest" not in str(receiver.requests)


def test_after_a_500_it_is_offered_again_under_the_same_key_with_a_new_time() -> None:
    times = iter(range(NOW_NS, NOW_NS + 100 * 10**9, 10**9))
    with receiving(500, 503) as receiver:
        told: list[Delivery] = []
        done = threading.Event()

        def report(delivery: Delivery) -> None:
            told.append(delivery)
            done.set()

        Post([webhook(receiver.url)]).offer(PACKET, wall_ns=lambda: next(times), report=report)
        assert done.wait(5)
    assert told == [Delivery("webhook", 1, "delivered", 3)]
    headers = [headers for _, headers, _ in receiver.requests]
    assert len({h["idempotency-key"] for h in headers}) == 1
    assert len({h["x-triage-timestamp"] for h in headers}) == 3
    assert all(accepted(h, body, NOW_NS // 10**9 + 2) for _, h, body in receiver.requests)


def test_another_version_and_another_packet_have_other_keys_and_no_key_is_a_code() -> None:
    with receiving() as receiver:
        hook = webhook(receiver.url)
        for packet in (PACKET, replace(PACKET, version=2), replace(PACKET, code="other")):
            hook.deliver(packet, wall_ns=NOW_NS)
    keys = [headers["idempotency-key"] for _, headers, _ in receiver.requests]
    assert len(set(keys)) == 3 and keys[0].rsplit("-", 1)[0] == keys[1].rsplit("-", 1)[0]
    assert not any(PACKET.code in key for key in keys)


@pytest.mark.parametrize(("status", "lasting"), [(301, True), (307, True), (400, True), (404, True), (429, False), (500, False)])  # fmt: skip
def test_what_is_no_2xx_is_no_delivery(status: int, lasting: bool) -> None:
    with receiving(status) as receiver, pytest.raises(Undelivered, match=f"http {status}") as refused:
        webhook(receiver.url).deliver(PACKET, wall_ns=NOW_NS)
    assert refused.value.lasting is lasting and len(receiver.requests) == 1


def test_a_redirect_is_not_followed() -> None:
    with receiving() as elsewhere:

        def away(door: BaseHTTPRequestHandler) -> None:
            door.send_response(308)
            door.send_header("Location", elsewhere.url)
            door.send_header("Content-Length", "0")
            door.end_headers()

        with receiving(away) as receiver:
            assert posted(Post([webhook(receiver.url)]), PACKET) == [
                Delivery("webhook", 1, "undelivered", 1, "http 308")
            ]
    assert elsewhere.requests == [] and len(receiver.requests) == 1


def test_a_proxy_of_the_environment_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        webhook(receiver.url).deliver(PACKET, wall_ns=NOW_NS)
        assert proxy.requests == [] and len(receiver.requests) == 1


@pytest.mark.parametrize("drips", [False, True])
def test_a_slow_server_is_left_after_the_try_has_had_its_time(drips: bool) -> None:
    leave = threading.Event()

    def slow(door: BaseHTTPRequestHandler) -> None:
        while drips and not leave.wait(0.05):
            try:
                door.wfile.write(b"H")
                door.wfile.flush()
            except OSError:
                return
        leave.wait(5)

    with receiving(slow) as receiver:
        began = time.perf_counter()
        with pytest.raises(Undelivered, match="timed out") as left:
            webhook(receiver.url, try_s=0.3).deliver(PACKET, wall_ns=NOW_NS)
        assert time.perf_counter() - began < 2.0 and not left.value.lasting
        leave.set()


def test_a_server_that_is_down_is_told_without_its_address_and_tried_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        assert posted(Post([webhook(f"http://127.0.0.1:{port}/")]), PACKET) == [
            Delivery("webhook", 1, "undelivered", 4, "ConnectionRefusedError")
        ]


def test_what_speaks_no_http_is_no_delivery() -> None:
    def mails(door: BaseHTTPRequestHandler) -> None:
        door.wfile.write(b"220 mail ready\r\n\r\n")

    with receiving(mails) as receiver, pytest.raises(Undelivered, match="BadStatusLine"):
        webhook(receiver.url).deliver(PACKET, wall_ns=NOW_NS)


def test_an_unknown_certificate_is_refused_for_good(tmp_path: Path) -> None:
    """TLS against a server that speaks it with a certificate nobody vouches for."""
    import ssl
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + timedelta(days=9999))
    pem = tmp_path / "own.pem"
    pem.write_bytes(
        made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answers() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    return

        serving = threading.Thread(target=answers, daemon=True)
        serving.start()
        with pytest.raises(Undelivered, match="certificate refused") as refused:
            webhook(f"https://127.0.0.1:{server.getsockname()[1]}/").deliver(PACKET, wall_ns=NOW_NS)
        serving.join(5)
    assert refused.value.lasting


# --- settings


@pytest.mark.parametrize(
    "url", ["https://desk.example/packets", "http://127.0.0.1:8080/", "http://localhost/x", "http://[::1]:99/"]
)
def test_addresses_that_a_code_may_be_sent_to(url: str) -> None:
    assert checked(url).hostname


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://desk.example/packets", "in clear to another machine; use https"),
        ("http://localhost.desk.example/", "use https"),
        ("ftp://desk.example/", "is no address"),
        ("desk.example/packets", "is no address"),
        ("https:///packets", "is no address"),
        ("https://desk.example:99999/", "is no address"),
        ("https://desk.example/a b", "is no address"),
        ("https://desk.example/\r\nX: y", "is no address"),
        ("https://me:secret@desk.example/", "takes no user name"),
        ("https://desk.example/#x", "no fragment"),
    ],
)
def test_other_addresses_are_refused_at_start_in_one_line_that_names_the_setting(url: str, named: str) -> None:
    with pytest.raises(SettingError, match=named):
        Webhook(url, SECRET)
    settings = {"TRIAGE_NURSE_WEBHOOK_URL": url, "TRIAGE_NURSE_WEBHOOK_SECRET_FILE": "secret"}
    with pytest.raises(SettingError, match="nurse_webhook_url") as refused:
        load(env=settings)
    assert "\n" not in str(refused.value) and "secret@" not in str(refused.value)


def test_a_secret_is_needed_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    url = "https://desk.example/packets"
    with pytest.raises(SettingError, match="nurse_webhook_secret_file"):
        load(env={"TRIAGE_NURSE_WEBHOOK_URL": url})
    with pytest.raises(SettingError, match="under 16 bytes"):
        Webhook(url, b"short")
    file = tmp_path / "secret"
    for content, mode, named in ((SECRET, 0o644, "chmod 600"), (b"short\n", 0o600, "openssl rand")):
        file.write_bytes(content)
        file.chmod(mode)
        with pytest.raises(SettingError, match=named):
            read_secret(file)
    with pytest.raises(SettingError, match="cannot be read"):
        read_secret(tmp_path / "absent")
    file.write_bytes(SECRET + b"\n")
    assert read_secret(file) == SECRET


def test_the_settings_say_where_packets_go(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    key = bytes(range(32))
    assert [place.name for place in post_of(load(env={}, data=tmp_path), key).places] == ["shelf"]
    with receiving() as receiver:
        env = {"TRIAGE_NURSE_WEBHOOK_URL": receiver.url, "TRIAGE_NURSE_WEBHOOK_SECRET_FILE": str(secret)}
        post = post_of(load(env=env, data=tmp_path), key)
        assert {d.outcome for d in posted(post, replace(PACKET, made_ns=10**18))} == {"delivered"}
        assert post.close()
    assert accepted(receiver.requests[0][1], receiver.requests[0][2], 0)
