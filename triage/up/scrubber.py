"""What a log line may keep: no telephone number, no caller's name, no secret. Everything unsure goes.

The programs of the line are not ours and write what they like, some of them the caller's number on every call. So their
output passes through here before it reaches a file. What looks like a number is dropped; times, versions, addresses
and ids of our calls of this shape stay: `2026-11-21T13:31:05.928`, `127.0.0.1:7880`, a UUID of version 7.
"""

import re
from collections.abc import Iterable

NUMBER, CALLER, SECRET = "[number]", "[caller]", "[secret]"

LONGEST_LINE = 4000
"""Characters of a line that are kept."""
_AHEAD = 300
"""Characters looked at beyond that, so that nothing is kept of a number that the cut goes through."""

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_KEPT = rf"""
    (?<![0-9a-f-]) [0-9a-f]{{8}}-[0-9a-f]{{4}}-7[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}} (?![0-9a-f-]) |
    (?<![\d+]) 20\d\d-[01]\d-[0-3]\d (?:[T ]\d\d:\d\d:\d\d (?:[.,]\d{{1,9}})? (?:Z|[+-]\d\d:?\d\d)?)? (?!\d)
  | (?<![\d+]) \d\d?\ [A-Z][a-z][a-z]\ \d{{4}}\ \d\d:\d\d:\d\d (?:\.\d{{1,3}})? (?!\d)
  | (?<="ts":) \d{{10}} (?:\.\d{{1,9}})? (?!\d)
  | (?<![\d.+]) (?:{_OCTET}\.){{3}}{_OCTET} (?:/\d{{1,2}}(?!\d))? (?::\d{{1,5}}(?!\d))? (?![\d.])
"""
_DIGITS = r"\+? \(? \d (?: [\s().\-/_~|\u00b7\u2010-\u2015\u2022\u2043\u2212\ufe58\ufe63\uff0d]{0,3} \d ){5,}"
"""Six digits or more, with the marks that people and switches put between them."""
_NUMBERS = re.compile(f"(?P<kept>{_KEPT}) | (?P<number>{_DIGITS})", re.VERBOSE)

_URI_USER = re.compile(r"\b(sips?(?::|%3a))(?:(?!%40)[^@\s<>\"']){1,200}(?:@|%40)", re.IGNORECASE)
_URI_ALONE = re.compile(r"\b(sips?(?::|%3a))(?![\d.]+\.)(?:%2b)?[^@\s<>\"'.:;?,\[\]%]{1,200}+(?![@.])", re.IGNORECASE)
"""A SIP address without a host, or with one that has no dot: what stands there may be a number or a name."""
_TEL = re.compile(r"\b(tel(?::|%3a))[^\s<>;\"',]{1,200}", re.IGNORECASE)
_DISPLAY_NAME = re.compile(
    r"(?:\\?\"[^\"<>]{0,100}\"|(?<![^\s:,=\"])[^\s\"<>:,=][^\"<>:,=]{0,60}?)\s{0,2}(<(?:sips?|tel):)", re.IGNORECASE
)
_IDENTITY = re.compile(r"\bsip_(?:\+?\d+|[0-9a-f]{16})(?![0-9a-f])")
"""LiveKit's name for a caller: their number, or a digest of it that anybody can turn back."""
_PHONE = re.compile(r"\bPhone \+?\d+")
_PARTICLES = "van|von|der|den|de|da|do|dos|del|della|di|du|la|le|al|el|bin|ibn|ben"
_NAMED = re.compile(
    r"(?P<key>(?<![a-z])(?:[a-z.]{0,24}phone_?number|from_?user|to_?user|caller|callee|called_?number|calling_?number"
    r"|from|to|p-asserted-identity|remote-party-id|transfer_?to"
    r"|(?:(?:caller|callee|from|to|display|full|first|last|participant)_?|(?<![a-z_.]))name)"
    r"\\?\"?\s{0,3}[:=]\s{0,3})"
    r"(?:\\\"[^\"]*\"|\"(?:[^\"\\]|\\.)*\""
    rf"|[^\s,;}}\"\\]+(?-i:(?:[ ](?:{_PARTICLES})){{0,3}}[ ](?![a-z])[^\W\d_][^\s,;}}\"\\=:]*+(?![=:])){{0,4}})",
    re.IGNORECASE,
)
"""Values whose key says whose they are; a short number (an extension) is caught only here. Outside quotation marks a name
goes on with words that begin with a capital."""


class Scrubber:
    """Cleans one line at a time; knows the secrets that must never be seen."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = tuple(sorted((s for s in secrets if s), key=len, reverse=True))

    def clean(self, line: str) -> str:
        """The line without numbers, names and secrets, cut to `LONGEST_LINE` and free of control characters."""
        line = line[: LONGEST_LINE + _AHEAD].expandtabs(1)
        for secret in self._secrets:
            line = line.replace(secret, SECRET)
        line = _DISPLAY_NAME.sub(rf"{CALLER} \1", line)
        line = _URI_USER.sub(rf"\1{CALLER}@", line)
        line = _URI_ALONE.sub(rf"\1{CALLER}", line)
        line = _TEL.sub(rf"\1{NUMBER}", line)
        line = _IDENTITY.sub(f"sip_{CALLER}", line)
        line = _PHONE.sub(f"Phone {NUMBER}", line)
        line = _NAMED.sub(rf"\g<key>{CALLER}", line)
        line = _NUMBERS.sub(lambda found: found["kept"] or NUMBER, line)
        return "".join(c if c.isprintable() else "\ufffd" for c in line)[:LONGEST_LINE]
