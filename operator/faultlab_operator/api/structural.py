"""From pydantic's JSON schema to the structural schema that a Kubernetes API server accepts.

What a structural schema may not have, and what becomes of it: `$ref` is put in place, `anyOf` with
null becomes the other alternative (an optional field is left out, never null), `const` becomes an
`enum` of one, titles are dropped. Rules about `oldSelf` are dropped inside list items, where
Kubernetes cannot tell which old item is meant.
"""

from typing import Any

from faultlab_operator.api.base import Model, Rule

Schema = dict[str, Any]

_DROPPED = ("title", "$defs", "discriminator")
_TRANSITION = "oldSelf"


def structural(model: type[Model]) -> Schema:
    """The schema of a model, complete in itself."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _clean(raw, raw.get("$defs", {}), in_list=False)


def validations(rules: tuple[Rule, ...]) -> list[dict[str, str]]:
    """Rules as `x-kubernetes-validations`."""
    return [{"rule": rule.rule, "message": rule.message} for rule in rules]


def _clean(node: Schema, definitions: dict[str, Schema], *, in_list: bool) -> Schema:
    node = _resolved(node, definitions)
    clean: Schema = {}
    for key, value in node.items():
        if key in _DROPPED or (key == "default" and value is None):
            continue
        if key == "const":
            clean["enum"] = [value]
        elif key == "properties":
            clean[key] = {name: _clean(inner, definitions, in_list=in_list) for name, inner in value.items()}
        elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
            clean[key] = _clean(value, definitions, in_list=True)
        elif key == "x-kubernetes-validations":
            kept = [rule for rule in value if not (in_list and _TRANSITION in rule["rule"])]
            if kept:
                clean[key] = kept
        else:
            clean[key] = value
    if clean.get("type") == "integer":
        clean["format"] = "int64"
    _mark_conditions(clean)
    return clean


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """The node without `$ref` and `anyOf`; what stands beside them (description, default) wins."""
    while "$ref" in node or "anyOf" in node:
        beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        else:
            choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
            if len(choices) != 1:
                raise ValueError(f"no structural schema for a choice among {node['anyOf']}")
            target = choices[0]
        node = {**target, **beside}
    return node


def _mark_conditions(node: Schema) -> None:
    conditions = node.get("properties", {}).get("conditions")
    if conditions and conditions.get("type") == "array":
        conditions["x-kubernetes-list-type"] = "map"
        conditions["x-kubernetes-list-map-keys"] = ["type"]
