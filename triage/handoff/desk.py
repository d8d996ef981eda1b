"""The nurse desk as a file: a directory of targets, and the packets of the calls that this process carries.

    schema = 1

    [[target]]
    name = "nurse-queue"          # opaque; travels in records, never a telephone number
    kind = "refer"                # refer, dial or desk
    declared = "queue"            # person, queue or unknown: what its 200 is worth
    answer_within_s = 8
    gives_person_sign = true      # the desk can tell when a person took the call
    uri = "sip:queue@nurses.example"

Targets are tried in the order of the file. Here a packet is in memory only; `post_of` takes it to the sealed shelf, where
`triage nurse open` finds it, and to the operator's own system.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fsm.events import Rung
from fsm.states import Declared, RungKind
from triage.config import Settings
from triage.errors import Refused, SettingError
from triage.handoff.packet import new_code
from triage.handoff.post import Place, Post
from triage.handoff.shelf import FOLDER, Shelf
from triage.handoff.webhook import Webhook, read_secret
from triage.ports import Packet

SCHEMA = 1
WITHIN_S = {RungKind.REFER: 8.0, RungKind.DIAL: 15.0, RungKind.DESK: 15.0}
"""Seconds for an answer where the target declares none."""
LONGEST_S = 60.0
NEVER_DIALLED = frozenset({"000", "112", "911", "988", "999"})
"""Emergency and crisis numbers: we say them, we never call them."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_MANY_DIGITS = re.compile(r"\d{5}")
_SIP = re.compile(
    r"sips?:(?:[\w.!~*'()&=+$,%-]+@)?(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:;[\w.=-]+)*"
)
_NOT_UDP = re.compile(r";transport=(?!udp(?:;|$))", re.IGNORECASE)
_TEL = re.compile(r"tel:\+?[0-9][0-9().-]*")
_WEB = re.compile(r"(?:https?|wss?)://[^\s<>\"]+")
_ADDRESSES: dict[RungKind, tuple[tuple[re.Pattern[str], ...], str]] = {
    RungKind.REFER: ((_SIP, _TEL), "a SIP or tel address such as sip:queue@nurses.example"),
    RungKind.DIAL: ((_SIP, _TEL), "a SIP or tel address such as sip:queue@nurses.example"),
    RungKind.DESK: ((_WEB, _SIP), "an address such as https://desk.example"),
}
"""What each kind of target may have for an address, and how the error says so."""


@dataclass(frozen=True, slots=True)
class Target:
    """One way to reach a nurse, with its address (which only the line needs)."""

    rung: Rung
    uri: str


class FileDesk:
    """A `NurseDesk` from a file of targets."""

    def __init__(
        self,
        targets: tuple[Target, ...],
        *,
        observers: tuple[Callable[[Packet], None], ...] = (),
    ) -> None:
        self._targets, self._observers = targets, observers
        self._packets: dict[str, Packet] = {}

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        media_during_refer: bool = True,
        observers: tuple[Callable[[Packet], None], ...] = (),
    ) -> "FileDesk":
        """Read the directory. `media_during_refer` False: the carrier keeps us from the caller while it refers them.

        Raises:
            SettingError: the file cannot be read, a field of it is wrong, or it names nobody whom a caller (with such a
                carrier, an urgent one with us still audible) could reach; the message names the file and the field.
        """
        targets = read_targets(path)
        kinds = {target.rung.kind for target in targets}
        if kinds == {RungKind.DESK}:
            raise SettingError(
                f"nurse directory {path}: nobody whom a telephone reaches; add one of kind refer or dial"
            )
        if not media_during_refer and RungKind.DIAL not in kinds:
            raise SettingError(
                f"nurse directory {path}: nobody can be dialled, and during a REFER the caller would not hear the "
                "emergency number (setting line_media_during_refer); add one of kind dial"
            )
        return cls(targets, observers=observers)

    def ladder(self, *, urgent: bool, media_during_refer: bool) -> tuple[Rung, ...]:
        """Rungs in the file's order.

        Where a REFER would silence us, urgent calls are not referred while somebody can be dialled: the emergency number
        could not be said in time. With nobody to dial, a REFER is better than nothing; a desk is nobody
        whom a telephone reaches.
        """
        rungs = tuple(target.rung for target in self._targets)
        if urgent and not media_during_refer:
            left_out = RungKind.REFER if any(rung.kind is RungKind.DIAL for rung in rungs) else None
            return tuple(rung for rung in rungs if rung.kind is not left_out)
        return rungs

    def uri(self, name: str) -> str:
        """The address of a target.

        Raises:
            SettingError: no target has that name.
        """
        for target in self._targets:
            if target.rung.target == name:
                return target.uri
        raise SettingError(f"nurse directory: no target {name}; name one of {', '.join(self._names())}")

    def offer(self, packet: Packet) -> None:
        """Put a packet where it can be claimed; an older version never replaces a newer one. Never raises."""
        packet = packet if packet.code else replace(packet, code=new_code())
        before = self._packets.get(packet.code)
        if before is not None and before.version > packet.version:
            return
        self._packets[packet.code] = packet
        for observe in self._observers:
            try:
                observe(packet)
            except Exception:  # an observer's own trouble: it is asked no more
                self._observers = tuple(other for other in self._observers if other is not observe)

    def claim(self, code: str) -> Packet:
        """The newest version of a packet that was offered in this process.

        Raises:
            Refused: none was offered under this code.
        """
        if code in self._packets:
            return self._packets[code]
        raise Refused("desk", "no packet with this code")

    def _names(self) -> list[str]:
        return [target.rung.target for target in self._targets]


def shelf_of(settings: Settings, public_key: bytes | None = None) -> Shelf:
    """The shelf of the data folder; without `public_key` for opening only.

    Raises:
        SettingError: `public_key` is no key.
    """
    return Shelf(settings.data_dir / FOLDER, public_key=public_key, keep_h=settings.nurse_packet_h)


def post_of(settings: Settings, public_key: bytes) -> Post:
    """What takes packets out of the process: to the shelf always, to the operator's own system where one is set.

    Raises:
        SettingError: the webhook's address or secret cannot be used.
    """
    places: list[Place] = [shelf_of(settings, public_key)]
    if settings.nurse_webhook_url:
        secret = read_secret(settings.nurse_webhook_secret_file or Path())
        places.append(Webhook(settings.nurse_webhook_url, secret, words=settings.nurse_webhook_words))
    return Post(places)


def check(settings: Settings) -> None:
    """Look at everything on the nurses' side that a call would need, and start nothing.

    Raises:
        SettingError: the directory or a target of it is wrong, or the webhook's address or secret is.
    """
    if settings.nurse_directory is not None:
        FileDesk.load(settings.nurse_directory, media_during_refer=settings.line_media_during_refer)
    if settings.nurse_webhook_url:
        Webhook(settings.nurse_webhook_url, read_secret(settings.nurse_webhook_secret_file or Path()))


# --- the directory


def read_targets(path: Path) -> tuple[Target, ...]:
    """The targets of a directory file, in its order.

    Raises:
        SettingError: the file cannot be read, or a field of it is wrong; the message names both.
    """
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"nurse directory {path} cannot be read; check the setting nurse_directory") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"nurse directory {path} is not TOML: {error}") from error
    if listed.get("schema") != SCHEMA:
        raise SettingError(f"nurse directory {path}: schema must be {SCHEMA}")
    rows = listed.get("target")
    if not isinstance(rows, list) or not rows:
        raise SettingError(f"nurse directory {path}: at least one [[target]] is needed")
    targets = tuple(_target(row, f"nurse directory {path}: target {n}") for n, row in enumerate(rows, start=1))
    names = [target.rung.target for target in targets]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise SettingError(f"nurse directory {path}: name {doubled[0]} is given twice")
    return targets


def _target(row: object, where: str) -> Target:
    fields = {"name", "kind", "declared", "answer_within_s", "gives_person_sign", "uri"}
    if not isinstance(row, dict):
        raise SettingError(f"{where}: must be a table")
    if unknown := sorted(set(row) - fields):
        raise SettingError(f"{where}: {unknown[0]} is no field; known are {', '.join(sorted(fields))}")
    kind = RungKind(_choice(row, "kind", [k.value for k in RungKind], None, where))
    declared = Declared(_choice(row, "declared", [d.value for d in Declared], Declared.UNKNOWN.value, where))
    sign = row.get("gives_person_sign", False)
    if not isinstance(sign, bool):
        raise SettingError(f"{where}: gives_person_sign must be true or false")
    return Target(
        Rung(
            kind=kind,
            target=_name(row, where),
            declared=declared,
            answer_within_s=_within(row, WITHIN_S[kind], where),
            gives_person_sign=sign,
        ),
        _address(row, kind, where),
    )


def _name(row: Mapping[str, Any], where: str) -> str:
    name = row.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or _MANY_DIGITS.search(name):
        raise SettingError(f"{where}: name must be small letters, digits and hyphens, and no telephone number")
    return name


def _choice(row: Mapping[str, Any], field: str, choices: list[str], default: str | None, where: str) -> str:
    given = row.get(field, default)
    if given not in choices:
        raise SettingError(f"{where}: {field} must be one of {', '.join(choices)}")
    return str(given)


def _within(row: Mapping[str, Any], default: float, where: str) -> float:
    given = row.get("answer_within_s", default)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= LONGEST_S:
        raise SettingError(f"{where}: answer_within_s must be 1 to {LONGEST_S:.0f} seconds")
    return float(given)


def _address(row: Mapping[str, Any], kind: RungKind, where: str) -> str:
    uri = row.get("uri", "")
    patterns, wanted = _ADDRESSES[kind]
    if not isinstance(uri, str) or not any(pattern.fullmatch(uri) for pattern in patterns):
        raise SettingError(f"{where}: uri must be {wanted}")
    if (
        kind is RungKind.DIAL
        and _SIP.fullmatch(uri)
        and ("@" not in uri or uri.startswith("sips:") or _NOT_UDP.search(uri))
    ):
        raise SettingError(f"{where}: uri {wanted} is dialled over UDP and by its user part; name it so")
    number = re.sub(r"[^0-9]", "", uri.split(":", 1)[1].split("@")[0])
    if number in NEVER_DIALLED:
        raise SettingError(f"{where}: uri is an emergency or crisis number; we say it, we never call it")
    return uri
