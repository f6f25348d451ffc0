"""What a benchmark says: figures, each with the limit that it must keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One row of the table and of ``build/bench.json``."""

    name: str
    """``<benchmark>/<what>``."""
    value: float | None
    """``None`` where it could not be measured: then no limit holds."""
    unit: str
    limit: float | None = None
    """The most that ``value`` may be; ``None``: told, not judged."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the value was made of, and what was faked to get it."""

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.value is not None and (self.limit is None or self.value <= self.limit)

    def row(self) -> dict[str, Any]:
        """For JSON. What no reader could tell apart is rounded away."""
        value = None if self.value is None else float(f"{self.value:.4g}")
        return {
            "name": self.name,
            "value": value,
            "unit": self.unit,
            "limit": self.limit,
            "holds": self.holds,
            "details": dict(self.details),
        }
