"""What all kinds have in common: names, metadata, conditions, and how a model says its CEL rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

GROUP: Final = "faultlab.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "faultlab.dev/v1alpha1"
CATEGORY: Final = "faultlab"

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


def worded(pattern: str, message: str, max_length: int) -> Any:
    """Field settings of a string that must match; the schema says so by a CEL rule with a message for
    people, because a schema's own `pattern` only recites the expression."""

    def in_schema(schema: dict[str, Any]) -> None:
        schema.pop("pattern", None)
        literal = pattern.replace("\\", "\\\\")
        schema["x-kubernetes-validations"] = [{"rule": f"self.matches('{literal}')", "message": message}]

    return Field(max_length=max_length, pattern=pattern, json_schema_extra=in_schema)


Name = Annotated[
    str, worded(DNS_LABEL, "write a name of lowercase letters, digits and '-', such as demo or demo-2", 52)
]
"""A system's, load's or scenario's name: short enough that pod and label names derived from it fit."""

MemberName = Annotated[
    str, worded(DNS_LABEL, "write a member's name: the system's name, '-' and an index, such as demo-0", 63)
]
"""A member pod's name, `SYSTEM-INDEX`."""

ShownName = Annotated[str, Field(max_length=63)]
"""A name in a status: written by the operator, so nothing checks it."""

Text = Annotated[str, Field(max_length=1024)]
Time = Annotated[str, Field(max_length=40)]
"""RFC 3339, UTC."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule of a model's schema (`x-kubernetes-validations`).

    The message says what to write instead. `transition` rules speak of `oldSelf`; Kubernetes allows
    them only where old and new can be told to be the same thing, so not inside list items.
    """

    rule: str
    message: str
    transition: bool = False


class Model(BaseModel):
    """A piece of a manifest: camelCase on the wire; unknown keys are the API server's to refuse."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", use_enum_values=True
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Adds the rules, and the defaults of whole sub-objects (an API server fills an object's own
        defaults only once the object is there)."""
        reference = handler(schema)
        node = handler.resolve_ref_schema(reference)
        if cls.rules:
            node["x-kubernetes-validations"] = [
                {"rule": rule.rule, "message": rule.message} for rule in cls.rules
            ]
        for name, field in cls.model_fields.items():
            if field.default_factory is None:
                continue
            default = field.get_default(call_default_factory=True, validated_data={})
            if isinstance(default, Model):
                # In full: Kubernetes tries the rules on a default before it fills defaults in it.
                default = default.wire()
            node["properties"][field.alias or to_camel(name)]["default"] = default
        return reference

    def wire(self) -> dict[str, Any]:
        """As on the wire: camelCase, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SystemReference(Model):
    """A system in the same namespace."""

    kind: Literal["RaftCluster"] = Field(description="The system's kind.")
    name: Name = Field(description="The system's name, in this namespace.")


class Condition(Model):
    """One aspect of the observed state, as Kubernetes' API conventions have it."""

    type: str = Field(min_length=1, max_length=63)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=128, description="One CamelCase word for programs.")
    message: str = Field(default="", max_length=2048, description="One line for people.")
    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this was found for."
    )
    last_transition_time: Time = Field(default="", description="When status last changed; RFC 3339.")


class Status(Model):
    """What every kind's status has."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status was computed from."
    )
    conditions: list[Condition] = Field(default_factory=list, max_length=16)


class Metadata(BaseModel):
    """The parts of an object's metadata that the operator looks at."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Resource(BaseModel):
    """A whole custom resource: subclasses narrow `spec` and `status`, and say how `kubectl` shows them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    kind_name: ClassVar[str]
    plural: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]]
    columns: ClassVar[tuple["Column", ...]]
    scale: ClassVar[dict[str, str] | None] = None
    root_rules: ClassVar[tuple[Rule, ...]] = ()

    metadata: Metadata

    @classmethod
    def parse(cls, obj: Mapping[str, Any]) -> Self:
        """From the wire. Raises pydantic.ValidationError where the API server let something through
        that the models do not know (an object older than its CRD)."""
        return cls.model_validate(obj)


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column of `kubectl get`."""

    name: str
    path: str
    type: Literal["string", "integer", "number", "boolean", "date"] = "string"
    description: str = ""
    wide: bool = False
    """Shown with `-o wide` only."""


AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")
