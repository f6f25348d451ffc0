"""What a CRD says of a value beyond its type: bounds, and CEL rules with a message that names the mend.

Both are for the API server only. The models don't repeat them when they parse, so that an object that was
stored under an older schema can still be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

RULES = "x-kubernetes-validations"


@dataclass(frozen=True)
class Rule:
    """One entry of ``x-kubernetes-validations``.

    Args:
        cel: what must be true; ``self`` is the value, ``oldSelf`` the value before a change.
        message: what is wrong and what to do about it. The API server puts the field's path before it.
        field: path from the value to the field at fault, such as ``.web.replicas``; empty: the value itself.
        message_cel: a CEL expression for the message, where naming the offending part helps.
    """

    cel: str
    message: str
    field: str = ""
    message_cel: str = ""

    def as_json(self) -> dict[str, str]:
        """The rule as the CRD has it."""
        entry = {"rule": self.cel, "message": self.message}
        if self.message_cel:
            entry["messageExpression"] = self.message_cel
        if self.field:
            entry["fieldPath"] = self.field
        return entry


class Schema:
    """Annotation of a field or type: OpenAPI keywords (``maxLength=63``) and rules for the CRD.

    Rules of nested annotations add up; keywords of the outer one win.
    """

    def __init__(self, *rules: Rule, **keywords: Any) -> None:
        self.rules = rules
        self.keywords = keywords

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        schema.update(self.keywords)
        add_rules(schema, self.rules)
        return schema


def add_rules(schema: JsonSchemaValue, rules: tuple[Rule, ...]) -> None:
    """Append ``rules`` to those that ``schema`` already has."""
    if rules:
        schema[RULES] = [*schema.get(RULES, []), *(rule.as_json() for rule in rules)]
