"""Fixed wording of the dialogue."""


def spoken_lines() -> list[tuple[str, str]]:
    """(prompt id, text) of everything the dialogue says in fixed wording."""
    return []
