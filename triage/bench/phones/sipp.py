"""sipp as a telephone that does one exact thing: scenarios for each way in which a transfer or a nurse can go wrong.

A scenario is a list of steps and becomes sipp's XML when it is run. `CALLERS` ring the line, talk (a tone as u-law) and
react to the REFER as their name says; `NURSES` are rung. sipp leaves with 0 when its scenario was followed to the end.
"""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

TONE = "tone.ul"
"""File that a talking scenario plays; raw u-law, 8 kHz, in the folder that sipp runs in."""
_US = "<sip:[number]@[local_ip]:[local_port]>;tag=[pid]c[call_number]"
_THEM = "<sip:[service]@[remote_ip]:[remote_port]>"
_CONTACT = "Contact: <sip:[number]@[local_ip]:[local_port];transport=[transport]>"


@dataclass
class Scenario:
    """Steps of one call; each method adds one and returns the scenario."""

    name: str
    _steps: list[str] = field(default_factory=list)
    _cseq: int = 1

    def xml(self) -> str:
        """Return it as sipp reads it."""
        head = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        return f"{head}<scenario name={quoteattr(self.name)}>\n{''.join(self._steps)}</scenario>\n"

    def send(self, first: str, *headers: str, body: str = "", repeat: bool = False) -> "Scenario":
        """Send a message; `repeat` until it is answered."""
        length = "[len]" if body else "0"
        text = "\n".join([first, *headers, f"Content-Length: {length}", "", *body.splitlines()])
        attribute = ' retrans="500"' if repeat else ""
        self._steps.append(f"  <send{attribute}>\n<![CDATA[\n{text}\n]]>\n  </send>\n")
        return self

    def expect(
        self, what: str, *, optional: bool = False, limit_ms: int | None = None, store: bool = False
    ) -> "Scenario":
        """Wait for a request (by name) or a response (by status)."""
        kind = "response" if what.isdecimal() else "request"
        attributes = f' {kind}="{what}"' + (' optional="true"' if optional else "") + (' rrs="true"' if store else "")
        attributes += f' timeout="{limit_ms}"' if limit_ms else ""
        self._steps.append(f"  <recv{attributes}/>\n")
        return self

    def pause(self, ms: int) -> "Scenario":
        """Do nothing for a while."""
        self._steps.append(f'  <pause milliseconds="{ms}"/>\n')
        return self

    def talk(self) -> "Scenario":
        """Play the tone, over and over, until the call ends."""
        self._steps.append(f'  <nop><action><exec rtp_stream="{TONE},-1,0"/></action></nop>\n')
        return self

    # --- in the caller's dialog

    def request(self, method: str, *headers: str, body: str = "", answered: str = "200") -> "Scenario":
        """Send a request of the caller and wait for its answer."""
        self._cseq += 1
        return self._ours(method, self._cseq, headers, body).expect(answered)

    def _ours(self, method: str, cseq: int, headers: Sequence[str], body: str) -> "Scenario":
        return self.send(
            f"{method} [next_url] SIP/2.0",
            "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
            f"From: {_US}",
            f"To: {_THEM}[peer_tag_param]",
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
            _CONTACT,
            "Max-Forwards: 70",
            *headers,
            body=body,
            repeat=method != "ACK",
        )

    def answer(self, status: int, reason: str, *headers: str, to: str = "[last_To:]", body: str = "") -> "Scenario":
        """Answer the request that came last."""
        echoed = ("[last_Via:]", "[last_From:]", to, "[last_Call-ID:]", "[last_CSeq:]")
        return self.send(f"SIP/2.0 {status} {reason}", *echoed, *headers, body=body)

    def notify(self, status: int, reason: str, *, over: bool = False) -> "Scenario":
        """Say how far the transfer is."""
        state = "terminated;reason=noresource" if over else "active;expires=60"
        kind = "Content-Type: message/sipfrag;version=2.0"
        headers = ("Event: refer", f"Subscription-State: {state}", kind)
        return self.request("NOTIFY", *headers, body=f"SIP/2.0 {status} {reason}")

    def reinvite(self, direction: str) -> "Scenario":
        """Offer the audio anew in another direction."""
        self.request("INVITE", "Content-Type: application/sdp", body=_sdp(direction))
        return self._ours("ACK", self._cseq, (), "")

    def bye(self) -> "Scenario":
        """Hang up."""
        return self.request("BYE")

    def expect_bye(self, limit_ms: int = 10_000) -> "Scenario":
        """Wait to be hung up on."""
        return self.expect("BYE", limit_ms=limit_ms).answer(200, "OK")


def _sdp(direction: str = "sendrecv", types: str = "0 101") -> str:
    return "\n".join(
        [
            "v=0",
            "o=phone 1 1 IN IP[local_ip_type] [local_ip]",
            "s=-",
            "c=IN IP[media_ip_type] [media_ip]",
            "t=0 0",
            f"m=audio [rtpstream_audio_port] RTP/AVP {types}",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            f"a={direction}",
        ]
    )


def calling(name: str, *, sdp: str | None = None, acknowledges: bool = True, talks: bool = True) -> Scenario:
    """Return a caller who rings and is answered."""
    scenario = _invite(Scenario(name), _sdp() if sdp is None else sdp)
    scenario.expect("100", optional=True).expect("180", optional=True).expect("200", store=True)
    if acknowledges:
        scenario._ours("ACK", 1, (), "")
    return scenario.talk() if talks else scenario


def _invite(scenario: Scenario, sdp: str, *headers: str) -> Scenario:
    return scenario.send(
        "INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]",
        f"From: {_US}",
        f"To: {_THEM}",
        "Call-ID: [call_id]",
        "CSeq: 1 INVITE",
        _CONTACT,
        "Max-Forwards: 70",
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY",
        *headers,
        *(["Content-Type: application/sdp"] if sdp else []),
        body=sdp,
        repeat=True,
    )


def refused(name: str, status: str, *, sdp: str | None = None, header: str = "X-Nothing: 1") -> Scenario:
    """Return a caller whose INVITE must be refused with `status`."""
    scenario = _invite(Scenario(name), _sdp() if sdp is None else sdp, header)
    scenario.expect("100", optional=True).expect(status)
    return scenario._ours("ACK", 1, (), "")


def giving_up(after_ms: int) -> Scenario:
    """Return a caller who cancels while it rings."""
    scenario = _invite(Scenario("cancel"), _sdp()).expect("100", optional=True).expect("180").pause(after_ms)
    scenario.send(
        "CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
        "[last_Via:]",
        f"From: {_US}",
        f"To: {_THEM}",
        "Call-ID: [call_id]",
        "CSeq: 1 CANCEL",
        "Max-Forwards: 70",
        repeat=True,
    )
    scenario.expect("180", optional=True).expect("200").expect("487")
    return scenario._ours("ACK", 1, (), "")


def _referred(name: str) -> Scenario:
    return calling(name).expect("REFER", limit_ms=60_000)


def _accepted(name: str) -> Scenario:
    return _referred(name).answer(202, "Accepted", _CONTACT).notify(100, "Trying")


def _stays(scenario: Scenario, stays_ms: int) -> Scenario:
    return scenario.pause(stays_ms).bye()


CALLERS: dict[str, Callable[[int], Scenario]] = {
    "ok": lambda _: (
        _accepted("ok").pause(300).notify(180, "Ringing").pause(300).notify(200, "OK", over=True).expect_bye()
    ),
    "ok_hangs_up_first": lambda _: _accepted("ok_hangs_up_first").pause(300).notify(200, "OK", over=True).bye(),
    "notify_before_202": lambda _: _notify_first(),
    "busy_486": lambda ms: _stays(_accepted("busy_486").pause(200).notify(486, "Busy Here", over=True), ms),
    "down_503": lambda ms: _stays(_accepted("down_503").pause(200).notify(503, "Service Unavailable", over=True), ms),
    "declined_603": lambda ms: _stays(_accepted("declined_603").pause(200).notify(603, "Decline", over=True), ms),
    "refused_403": lambda ms: _stays(_referred("refused_403").answer(403, "Forbidden"), ms),
    "refused_603": lambda ms: _stays(_referred("refused_603").answer(603, "Decline"), ms),
    "no_notify": lambda ms: _stays(_referred("no_notify").answer(202, "Accepted"), ms),
    "trying_and_over": lambda ms: _stays(_trying_and_over(), ms),
    "no_answer": lambda ms: _stays(_referred("no_answer"), ms),
    "hangs_up_while_ringing": lambda _: _accepted("hangs_up_while_ringing").notify(180, "Ringing").pause(500).bye(),
    "bye_without_notify": lambda _: _referred("bye_without_notify").answer(202, "Accepted").pause(500).bye(),
    "late_200": lambda ms: _accepted("late_200").pause(ms).notify(200, "OK", over=True).bye(),
    "holds_on_202": lambda _: _holds_on_202(),
}
"""Ways in which a caller's carrier deals with a REFER; the argument is how long it stays or waits, in ms."""


def _trying_and_over() -> Scenario:
    return _referred("trying_and_over").answer(202, "Accepted").notify(100, "Trying", over=True)


def _notify_first() -> Scenario:
    """The NOTIFY overtakes the 202: sipp answers the REFER that it stored only after the NOTIFY has been confirmed."""
    scenario = calling("notify_before_202")
    scenario._steps.append('  <recv request="REFER" timeout="60000"><action>')
    for number, header in enumerate(("Via", "From", "To", "Call-ID", "CSeq"), 1):
        scenario._steps.append(f'<ereg regexp=".*" search_in="hdr" header="{header}:" assign_to="{number}"/>')
    scenario._steps.append("</action></recv>\n")
    scenario.notify(100, "Trying")
    scenario.send("SIP/2.0 202 Accepted", "Via:[$1]", "From:[$2]", "To:[$3]", "Call-ID:[$4]", "CSeq:[$5]")
    return scenario.pause(200).notify(200, "OK", over=True).expect_bye()


def _holds_on_202() -> Scenario:
    """As a carrier that takes the audio away during a transfer, which then fails."""
    held = _referred("holds_on_202").answer(202, "Accepted", _CONTACT).reinvite("sendonly").notify(100, "Trying")
    return held.pause(800).notify(486, "Busy Here", over=True).reinvite("sendrecv").pause(800).bye()


_TAGGED = "[last_To:];tag=n[pid]x[call_number]"
_NURSE = "Contact: <sip:nurse@[local_ip]:[local_port];transport=[transport]>"


def _nurse(name: str) -> Scenario:
    return Scenario(name).expect("INVITE")


def _turned_down(status: int, reason: str) -> Scenario:
    return _nurse(f"nurse_{status}").answer(status, reason, to=_TAGGED).expect("ACK")


def _picks_up(name: str, after_ms: int, types: str = "0 101") -> Scenario:
    scenario = _nurse(name).answer(180, "Ringing", _NURSE, to=_TAGGED).pause(after_ms)
    headers = (_NURSE, "Content-Type: application/sdp")
    return scenario.answer(200, "OK", *headers, to=_TAGGED, body=_sdp(types=types)).expect("ACK")


def _rings_out() -> Scenario:
    """Rings until it is cancelled. The 487 belongs to the INVITE, so what identifies that is kept."""
    scenario = Scenario("rings_out")
    scenario._steps.append('  <recv request="INVITE"><action>')
    for number, header in enumerate(("Via", "From", "To", "Call-ID", "CSeq"), 1):
        scenario._steps.append(f'<ereg regexp=".*" search_in="hdr" header="{header}:" assign_to="{number}"/>')
    scenario._steps.append("</action></recv>\n")
    scenario.answer(180, "Ringing", _NURSE, to=_TAGGED).expect("CANCEL", limit_ms=30_000).answer(200, "OK", to=_TAGGED)
    kept = ("Via:[$1]", "From:[$2]", "To:[$3];tag=n[pid]x[call_number]", "Call-ID:[$4]", "CSeq:[$5]")
    return scenario.send("SIP/2.0 487 Request Terminated", *kept).expect("ACK")


NURSES: dict[str, Callable[[int], Scenario]] = {
    "answers": lambda ms: _picks_up("answers", ms).talk().expect_bye(60_000),
    "other_codec": lambda ms: _picks_up("other_codec", ms, types="18").expect_bye(),
    "busy_486": lambda _: _turned_down(486, "Busy Here"),
    "down_503": lambda _: _turned_down(503, "Service Unavailable"),
    "declined_603": lambda _: _turned_down(603, "Decline"),
    "rings_out": lambda _: _rings_out(),
}
"""Ways in which a nurse's phone deals with an INVITE; the argument is how long it rings, in ms."""


def missing() -> str | None:
    """Return what is missing to run a scenario, as one line, or None."""
    return None if shutil.which("sipp") else "sipp is not installed; apt-get install sip-tester"


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario went."""

    status: int
    """0: followed to the end."""
    said: str
    """Its error log, for a test's message."""


async def run(
    scenario: Scenario,
    folder: Path,
    *,
    port: int,
    media_port: int,
    remote: tuple[str, int] | None = None,
    calls: int = 1,
    limit_s: float = 60.0,
    service: str = "+15550199",
    number: str = "+15550100",
) -> Result:
    """Run a scenario to its end: with `remote` it rings there, without it waits to be rung.

    `service` is what it rings, `number` its own. Raises: TimeoutError after `limit_s`.
    """
    script = folder / f"{scenario.name}.xml"
    script.write_text(scenario.xml(), encoding="iso-8859-1")
    errors = folder / f"{scenario.name}.err"
    options = ["-sf", str(script), "-s", service, "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(port)]
    options += ["-mp", str(media_port), "-m", str(calls), "-l", str(calls), "-nostdin", "-nd"]
    options += ["-key", "number", number]
    options += ["-trace_err", "-error_file", str(errors)]
    child = await asyncio.create_subprocess_exec(
        "sipp", *options, *([f"{remote[0]}:{remote[1]}"] if remote else []), cwd=folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        status = await asyncio.wait_for(child.wait(), limit_s)
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return Result(status, errors.read_text(encoding="utf-8", errors="replace") if errors.exists() else "")
