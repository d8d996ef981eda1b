"""What may go to a terminal. A store that somebody altered can hold anything: an escape sequence could rewrite a verdict."""


def printable(text: object, *, lines: bool = False) -> str:
    """A value as text without signs that a terminal would obey; `lines`: line ends are kept."""
    return "".join(sign if sign.isprintable() or (lines and sign == "\n") else " " for sign in str(text))


def escaped(text: str) -> str:
    """JSON with every such sign written as its escape, so that it reads back the same."""
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    raw = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[at]:02x}{raw[at + 1]:02x}" for at in range(0, len(raw), 2))
