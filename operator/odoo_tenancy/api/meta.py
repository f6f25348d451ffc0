"""What every kind has in common: group, metadata, conditions, and how a manifest becomes a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from odoo_tenancy.api.errors import Refused
from odoo_tenancy.api.rules import Rule, Schema, add_rules

GROUP = "odootenancy.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

Manifest = dict[str, Any]
"""A Kubernetes object as JSON: only at the edges, where it is read from or sent to the API server."""


class ApiModel(BaseModel):
    """Frozen; camelCase on the wire, snake_case here. Unknown fields are ignored: the API server prunes
    them."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """What the API server checks across the fields of this model."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        add_rules(handler.resolve_ref_schema(schema), cls.rules)
        return schema


class ObjectMeta(ApiModel):
    """The part of ``metadata`` that the operator reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Condition(ApiModel):
    """A ``metav1.Condition``."""

    type: Annotated[str, Schema(maxLength=64)]
    """CamelCase name of what is said, such as ``Ready``."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Schema(maxLength=128)]
    """CamelCase, stable, for machines."""
    message: Annotated[str, Schema(maxLength=4096)]
    """A sentence that says what is wrong and what to do."""
    observed_generation: Annotated[int, Schema(minimum=0, format="int64")] = 0
    """``metadata.generation`` of the object that this was said of."""
    last_transition_time: datetime | None = None
    """When ``status`` last changed."""


Conditions = Annotated[
    tuple[Condition, ...],
    Schema(maxItems=24, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]


class Status(ApiModel):
    """What every status has."""

    observed_generation: Annotated[int, Schema(minimum=0, format="int64")] = 0
    """``metadata.generation`` of the spec that the operator last acted upon."""
    conditions: Conditions = ()
    """``Ready``, and kstatus' ``Reconciling`` and ``Stalled``; more where the kind says so."""


@dataclass(frozen=True)
class Key:
    """Which object: what the queue holds, and what a log line names."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``; ``wide`` ones show with ``-o wide`` only."""

    name: str
    path: str
    type: Literal["string", "integer", "date", "boolean"] = "string"
    wide: bool = False


@dataclass(frozen=True)
class Definition:
    """What a CRD says besides its schema."""

    plural: str
    short_name: str
    scope: Literal["Namespaced", "Cluster"]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    """Paths of what lists can be narrowed by: ``kubectl get --field-selector``."""


NAME_RULE = Rule(
    "self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$')",
    "must be at most 50 lower case letters, digits and '-': namespaces and labels are built from it; "
    "choose a shorter name",
    field=".metadata.name",
)


class ApiObject(ApiModel):
    """One of our kinds, with ``spec`` and ``status`` typed by the subclass."""

    definition: ClassVar[Definition]
    rules: ClassVar[tuple[Rule, ...]] = (NAME_RULE,)

    api_version: Literal["odootenancy.io/v1alpha1"] = "odootenancy.io/v1alpha1"
    kind: str
    metadata: ObjectMeta

    @classmethod
    def parse(cls, manifest: Manifest) -> Self:
        """The typed object; fields that this version doesn't know are ignored.

        Raises:
            Refused: ``InvalidObject``, where the object doesn't fit the schema (it was stored under another one, or
                its status was edited by hand).
        """
        try:
            return cls.model_validate(manifest)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
            name = manifest.get("metadata", {}).get("name", "")
            raise Refused(
                "InvalidObject",
                f"{cls.__name__} {name} can't be read: {faults}. Apply it again with these fields mended; install "
                "the CRDs of this operator's version first.",
            ) from error

    @property
    def key(self) -> Key:
        """Which object this is."""
        return Key(self.kind, self.metadata.namespace, self.metadata.name)
