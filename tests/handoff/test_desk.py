"""Promise: the nurse directory is read as written or refused in one line that names the field; packets open by code only."""

from dataclasses import replace
from pathlib import Path

import pytest

from fsm.events import Rung
from fsm.states import Declared, RungKind
from triage.config import load
from triage.errors import SettingError
from triage.handoff.desk import FileDesk, check, read_targets
from triage.ports import Packet

DIRECTORY = """
schema = 1

[[target]]
name = "queue"
kind = "refer"
declared = "queue"
gives_person_sign = true
uri = "sip:queue@nurses.example"

[[target]]
name = "ward-2"
kind = "dial"
declared = "person"
answer_within_s = 12
uri = "tel:+15550100"

[[target]]
name = "browser"
kind = "desk"
uri = "https://desk.example/nurse"
"""
PACKET = Packet(
    code="secret-code",
    call_id="01999999-0000-7000-8000-000000000000",
    made_ns=1,
    rank=50,
    level="nurse_now",
    category="chest",
    reason="urgent",
    situation={"caller's words": '"my chest"'},
    background={},
    assessment={},
    recommendation={"ask": "nurse now"},
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "nurses.toml"
    path.write_text(DIRECTORY, encoding="utf-8")
    return path


def test_targets_are_read_in_order_with_what_they_declare(directory: Path) -> None:
    desk = FileDesk.load(directory)
    assert desk.ladder(urgent=False, media_during_refer=True) == (
        Rung(kind=RungKind.REFER, target="queue", declared=Declared.QUEUE, answer_within_s=8.0, gives_person_sign=True),
        Rung(kind=RungKind.DIAL, target="ward-2", declared=Declared.PERSON, answer_within_s=12.0),
        Rung(kind=RungKind.DESK, target="browser", declared=Declared.UNKNOWN, answer_within_s=15.0),
    )
    assert desk.uri("ward-2") == "tel:+15550100"
    with pytest.raises(SettingError, match="no target elsewhere; name one of queue"):
        desk.uri("elsewhere")


def test_where_a_refer_would_silence_us_urgent_calls_are_dialled(directory: Path) -> None:
    desk = FileDesk.load(directory)
    names = [rung.target for rung in desk.ladder(urgent=True, media_during_refer=False)]
    assert names == ["ward-2", "browser"]
    for urgent, during in ((True, True), (False, False), (False, True)):
        assert desk.ladder(urgent=urgent, media_during_refer=during)[0].target == "queue"


def test_a_directory_of_refers_alone_is_refused_where_a_refer_would_silence_us(directory: Path) -> None:
    """Nobody could say the emergency number in time; should it come to such a call all the same, it is referred."""
    FileDesk.load(directory, media_during_refer=False)
    directory.write_text(DIRECTORY[: DIRECTORY.index('[[target]]\nname = "ward-2"')], encoding="utf-8")
    with pytest.raises(SettingError, match="add one of kind dial"):
        FileDesk.load(directory, media_during_refer=False)
    assert [r.target for r in FileDesk.load(directory).ladder(urgent=True, media_during_refer=False)] == ["queue"]


def test_desks_stand_in_for_nobody_whom_an_urgent_caller_could_be_dialled_to(directory: Path) -> None:
    """A telephone line answers every desk with 404: with refers and desks only, a referral is all there is."""
    queue, _, browser = DIRECTORY.split("[[target]]")[1:]
    directory.write_text("schema = 1\n" + "".join(f"[[target]]{row}" for row in (queue, browser)), encoding="utf-8")
    with pytest.raises(SettingError, match=r"nobody can be dialled.*add one of kind dial"):
        FileDesk.load(directory, media_during_refer=False)
    ladder = FileDesk.load(directory).ladder(urgent=True, media_during_refer=False)
    assert [rung.target for rung in ladder] == ["queue", "browser"]


@pytest.mark.parametrize("during", [True, False])
def test_a_directory_of_desks_alone_is_refused(during: bool, directory: Path) -> None:
    directory.write_text(f"schema = 1\n[[target]]{DIRECTORY.split('[[target]]')[3]}", encoding="utf-8")
    with pytest.raises(SettingError, match="nobody whom a telephone reaches"):
        FileDesk.load(directory, media_during_refer=during)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:queue.nurses.example",
        "sips:ward@nurses.example",
        "sip:ward@nurses.example;transport=tls",
        "sip:ward@nurses.example;lr;Transport=TCP",
    ],
)
def test_a_dialled_target_that_would_be_dialled_otherwise_than_it_says_is_refused(uri: str, directory: Path) -> None:
    """The trunk to the nurses is UDP, and what is dialled is a user at a host."""
    directory.write_text(DIRECTORY.replace("tel:+15550100", uri), encoding="utf-8")
    with pytest.raises(SettingError, match=r"target 2: uri .*dialled"):
        FileDesk.load(directory)
    directory.write_text(DIRECTORY.replace("sip:queue@nurses.example", uri), encoding="utf-8")
    assert FileDesk.load(directory).uri("queue") == uri, "a REFER hands it to the carrier as it is"


@pytest.mark.parametrize("uri", ["sip:ward@nurses.example;transport=udp", "sip:ward@[2001:db8::1]:5060;user=phone"])
def test_a_dialled_target_over_udp_is_taken(uri: str, directory: Path) -> None:
    directory.write_text(DIRECTORY.replace("tel:+15550100", uri), encoding="utf-8")
    assert FileDesk.load(directory).uri("ward-2") == uri


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ('name = "queue"|name = "Queue 1"', "name must be"),
        ('name = "queue"|name = "n15550100"', "no telephone number"),
        ('name = "queue"|', "name must be"),
        ('name = "ward-2"|name = "queue"', "name queue is given twice"),
        ('kind = "refer"|kind = "mail"', "kind must be one of refer, dial, desk"),
        ('kind = "refer"|', "kind must be one of"),
        ('declared = "queue"|declared = "robot"', "declared must be one of person, queue, unknown"),
        ("answer_within_s = 12|answer_within_s = 0", "answer_within_s must be 1 to 60"),
        ("answer_within_s = 12|answer_within_s = 600", "answer_within_s must be"),
        ('answer_within_s = 12|answer_within_s = "12"', "answer_within_s must be"),
        ("answer_within_s = 12|answer_within_s = true", "answer_within_s must be"),
        ("gives_person_sign = true|gives_person_sign = 1", "gives_person_sign must be true or false"),
        ('uri = "tel:+15550100"|uri = "call them"', "uri must be a SIP or tel address"),
        ('uri = "tel:+15550100"|', "uri must be a SIP or tel address"),
        ('uri = "tel:+15550100"|uri = "https://nurses.example"', "uri must be a SIP or tel address"),
        ('uri = "tel:+15550100"|uri = "mailto:ward@nurses.example"', "uri must be a SIP or tel address"),
        ('uri = "tel:+15550100"|uri = "sip:a@b c"', "uri must be a SIP or tel address"),
        ('uri = "tel:+15550100"|uri = "sip:a@nurses.example?Replaces=x"', "uri must be a SIP or tel address"),
        ('uri = "tel:+15550100"|uri = "sip:a@nurses.example>;x=<sip:b@c"', "uri must be a SIP or tel address"),
        ('uri = "https://desk.example/nurse"|uri = "tel:+15550100"', "uri must be an address such as https"),
        ('uri = "tel:+15550100"|uri = "tel:911"', "we never call it"),
        ('uri = "sip:queue@nurses.example"|uri = "sip:112@carrier.example"', "we never call it"),
        ('declared = "person"|colour = "red"', "colour is no field"),
        ("schema = 1|schema = 2", "schema must be 1"),
        ("schema = 1|schema = ", "is not TOML"),
    ],
)
def test_a_wrong_directory_is_one_line_that_names_the_field(directory: Path, wrong: str, named: str) -> None:
    before, after = wrong.split("|")
    assert before in DIRECTORY
    directory.write_text(DIRECTORY.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(SettingError, match=named) as refused:
        read_targets(directory)
    assert "\n" not in str(refused.value)
    assert str(directory) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [("schema = 1\n", r"at least one \[\[target\]\]"), ("schema = 1\ntarget = 3\n", "at least one"), ("schema = 1\ntarget = [1]\n", "must be a table")],
)  # fmt: skip
def test_a_directory_without_targets_is_refused(directory: Path, content: str, named: str) -> None:
    directory.write_text(content, encoding="utf-8")
    with pytest.raises(SettingError, match=named):
        read_targets(directory)


def test_a_missing_directory_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="check the setting nurse_directory"):
        read_targets(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingError, match="cannot be read"):
        read_targets(tmp_path / "binary.toml")


def test_a_renewed_packet_replaces_the_older_one_and_never_the_other_way(directory: Path) -> None:
    seen: list[int] = []
    desk = FileDesk.load(directory, observers=(lambda packet: seen.append(packet.version),))
    desk.offer(PACKET)
    desk.offer(replace(PACKET, version=3, rank=90))
    desk.offer(replace(PACKET, version=2))
    assert desk.claim(PACKET.code).rank == 90
    assert seen == [1, 3]


def test_a_packet_without_a_code_gets_one_at_the_offer(directory: Path) -> None:
    seen: list[Packet] = []
    desk = FileDesk.load(directory, observers=(seen.append,))
    desk.offer(replace(PACKET, code=""))
    assert len(seen[0].code) >= 16
    assert desk.claim(seen[0].code) == seen[0]


def test_an_observer_that_raises_is_heard_once(directory: Path) -> None:
    calls: list[int] = []
    seen: list[Packet] = []

    def breaks(packet: Packet) -> None:
        calls.append(packet.version)
        raise RuntimeError

    desk = FileDesk.load(directory, observers=(breaks, seen.append))
    desk.offer(PACKET)
    desk.offer(replace(PACKET, version=2))
    assert calls == [1]
    assert len(seen) == 2


def test_everything_on_the_nurses_side_is_looked_at_before_the_line_starts(directory: Path, tmp_path: Path) -> None:
    given = {"TRIAGE_NURSE_DIRECTORY": str(directory)}
    check(load(env=given, data=tmp_path))
    webhook = {"TRIAGE_NURSE_WEBHOOK_URL": "https://desk.example/", "TRIAGE_NURSE_WEBHOOK_SECRET_FILE": "absent"}
    settings = load(env={**given, **webhook}, data=tmp_path)
    with pytest.raises(SettingError, match="nurse_webhook_secret_file: absent cannot be read"):
        check(settings)
    directory.write_text(DIRECTORY.replace("tel:+15550100", "mailto:ward"), encoding="utf-8")
    settings = load(env=given, data=tmp_path)
    with pytest.raises(SettingError, match="target 2: uri must be"):
        check(settings)
    assert list(tmp_path.iterdir()) == [directory], "nothing was made"
