"""Faults that the bench can play: what real carriers and services do wrong."""

from dataclasses import dataclass

AFTER_S = 2.0
"""How long after the time-out the lost result of `notify200_after_timeout` comes."""


@dataclass(frozen=True)
class Faults:
    """Which faults are on; the default is none."""

    hold_on_202: bool = False
    """The caller is put on hold once the REFER was accepted: no audio either way until it has failed (as Twilio does)."""
    notify200_after_timeout: bool = False
    """The NOTIFY that says 200 comes only after the time for it is over. The caller is transferred all the same."""
    no_notify: bool = False
    """No NOTIFY comes at all."""
    late_answer_s: float = 0.0
    """Every answer to a transfer or to a dialled call is given this much too late, s."""

    def __post_init__(self) -> None:
        if not 0 <= self.late_answer_s <= 120:
            raise ValueError("late answers: 0 to 120 s")
        if self.no_notify and self.notify200_after_timeout:
            raise ValueError("no NOTIFY, or a late one; not both")

    def notify_delay(self, status: int, timeout_s: float) -> float | None:
        """How long to sit on a NOTIFY, s; None loses it. `timeout_s` is the time that its transfer has."""
        if self.no_notify:
            return None
        return timeout_s + AFTER_S if self.notify200_after_timeout and status == 200 else 0.0

    def __str__(self) -> str:
        on = [name for name in ("hold_on_202", "notify200_after_timeout", "no_notify") if getattr(self, name)]
        return ", ".join([*on, *([f"late_answer {self.late_answer_s:g} s"] if self.late_answer_s else [])]) or "none"
