"""What the operator writes to a service: remembered, and where it dies."""

from __future__ import annotations

from dataclasses import dataclass, field


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Writes:
    """A hook that remembers the writes, and can end the operator at one of them."""

    descriptions: list[str] = field(default_factory=list)
    die_at: int | None = None
    """Count of calls, before and after together."""
    calls: int = 0

    def before_write(self, description: str) -> None:
        self._call()
        self.descriptions.append(description)

    def after_write(self, description: str) -> None:
        self._call()

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.die_at:
            raise Killed
