"""Rows of a report: a name, n, percentiles, and what was aimed at. Nothing here passes or fails."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.stubs import percentile

WIDTH = 52


@dataclass(frozen=True, slots=True)
class Row:
    """One line of figures."""

    name: str
    values: Sequence[float]
    unit: str = "ms"
    aim: str = ""
    """What the project wants, in words; empty where nothing was promised."""

    def __str__(self) -> str:
        aim = f"   (aim {self.aim})" if self.aim else ""
        if len(self.values) == 1:
            return f"{self.name:<{WIDTH}} {self.values[0]:.2f} {self.unit}{aim}"
        if not self.values:
            return f"{self.name:<{WIDTH}} n=0{aim}"
        p50, p95, most = percentile(list(self.values), 0.5), percentile(list(self.values), 0.95), max(self.values)
        figures = f"n={len(self.values):<4} p50 {p50:7.1f}  p95 {p95:7.1f}  max {most:7.1f} {self.unit}"
        return f"{self.name:<{WIDTH}} {figures}{aim}"


@dataclass(frozen=True, slots=True)
class Count:
    """So many of so many."""

    name: str
    got: int
    of: int
    aim: str = ""

    def __str__(self) -> str:
        return f"{self.name:<{WIDTH}} {self.got} of {self.of}" + (f"   (aim {self.aim})" if self.aim else "")


Line = Row | Count | str
