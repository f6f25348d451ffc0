"""What a service has otherwise than it should: the same words for every service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """One attribute that is not as it should be."""

    object: str
    """Kind and name: ``role t_…``, ``database t_…``, ``user t_…``."""
    attribute: str
    wanted: str
    found: str

    @property
    def attribute_as_found(self) -> str:
        """The same without the object, where several of one are told."""
        return f"{self.attribute} is {self.found}, should be {self.wanted}"

    def __str__(self) -> str:
        return f"{self.object}: {self.attribute_as_found}"
