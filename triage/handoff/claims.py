"""Who opened which packet, and who rang whom back: written into the log of readings before anything is shown or done.

That log is a chain of its own beside the calls' (`audit.access`): `triage audit verify --all` proves it. A claim is a
reading of the call like any other; the first claim of a call holds, and later ones are shown as what they are. Two nurses
at the same moment are put in order by the log itself. A claim is known by its place in the log and not by a name: two
nurses may sit at one login, and anybody can type anybody's name.
"""

from dataclasses import dataclass

from audit.access import Access, AccessLog
from audit.outbox import Callback, Outbox
from audit.printable import printable
from audit.reader import Reader
from audit.store import SqliteStore
from triage.errors import UsageError
from triage.handoff.shelf import Shelf
from triage.ports import Packet

CLAIM, RUNG_BACK, LOOKED_UP = "packet", "callback done", "callback"
"""What the log says of each."""
NETWORK, SPOKEN = "caller_number", "callback"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A packet, and who has it."""

    packet: Packet
    mine: Access
    first: Access
    """The claim that holds; `mine` when nobody was quicker."""
    claims: int
    """Of this call so far, this one included."""
    holds: bool
    """This is the first claim itself. A later look is not, whoever it is by."""

    @property
    def namesake(self) -> bool:
        """The first claim came from the same login and name: one's own, or somebody else's at the same terminal."""
        return not self.holds and self.first.who == self.mine.who


@dataclass(frozen=True, slots=True)
class Numbers:
    """How a caller can be rung back."""

    spoken: str
    """As the caller said it and the line read it; empty when it was not said or not understood."""
    confirmed: bool
    """They confirmed it when it was read back."""
    network: str
    """As the network showed it, not read back; empty when it showed none."""
    withheld: bool = False
    """The caller asked the network to show it to nobody."""


def claim(
    shelf: Shelf, private_key: bytes, store: SqliteStore, code: str, *, who: str, purpose: str, at_ns: int
) -> Claimed:
    """Open a packet for somebody. The claim is durable before this returns.

    Raises:
        Refused: no packet opens with this code.
        StoreFailed: the claim could not be recorded; then nothing is shown.
    """
    packet = shelf.open(code, private_key, wall_ns=at_ns)
    log = AccessLog(store)
    mine = Access(at_ns, who, purpose, packet.call_id, CLAIM)
    number = log.record(mine)
    claims = [(at, reading) for at, reading in log.numbered(packet.call_id) if reading.what == CLAIM and at <= number]
    first_number, first = claims[0]
    return Claimed(packet, mine, first, len(claims), holds=first_number == number)


def find(outbox: Outbox, begin: str) -> Callback:
    """The one call-back task whose id begins like this, open or done.

    Raises:
        UsageError: none, or several.
        StoreFailed: the store cannot be read.
    """
    tasks = outbox.callbacks(open_only=False)
    found = [task for task in tasks if task.id == begin] or [task for task in tasks if task.id.startswith(begin)]
    if len(found) != 1:
        why = "fits several: give more of its id" if found else "is not there: triage nurse callbacks shows them"
        raise UsageError(printable(f"call-back {begin} {why}"))
    return found[0]


def rung_back(store: SqliteStore, task: Callback, *, who: str, purpose: str, at_ns: int) -> None:
    """Strike a call-back off: into the log first, then off the list.

    Raises:
        UsageError: it was struck off before; says by whom.
        StoreFailed: it could not be recorded; it is still on the list.
    """
    log, outbox = AccessLog(store), Outbox(store)
    before = [reading.who for reading in log.readings(task.call) if reading.what == RUNG_BACK]
    if task.done_ns is None:
        log.record(Access(at_ns, who, purpose, task.call, RUNG_BACK))
        outbox.claim_callback(task.id, owner=who)
        if outbox.callback_done(task.id, at_ns=at_ns):
            return
    raise UsageError(printable(f"call-back {task.id} was done before, by {before[-1] if before else 'somebody'}"))


def numbers_of(reader: Reader, call: str, *, at_ns: int) -> Numbers:
    """The numbers that lie sealed in a call's record. A reading: recorded first.

    Raises:
        UnknownCall, KeyErased, KeyMissing, RecordForeign, StoreFailed: as `Reader.records`.
    """
    spoken, confirmed, network, withheld = "", False, "", False
    for record in reader.records(call, at_ns=at_ns, what=LOOKED_UP):
        payload = record.content.payload
        if payload.get("event") == NETWORK:
            network, withheld = str(payload.get("number", "")), payload.get("withheld") is True
        elif payload.get("slot") == SPOKEN:
            spoken, confirmed = str(payload.get("value", "")), False
        elif payload.get("slot") == "callback_ok":
            confirmed = payload.get("value") == "yes"
    if spoken in ("unknown", "withheld"):
        spoken, confirmed = "", False
    return Numbers(spoken, confirmed, network, withheld)
