"""CRDs: schemas and rules that are refused with the CRD, and rules that are asked of its objects."""

from __future__ import annotations

from typing import Any

import pytest

from faultlab_embedded.store.errors import Invalid
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
HERE = "spec.validation.openAPIV3Schema.properties[spec].properties[q]"
RULES = "x-kubernetes-validations"


def crd(*schemas: Any, **version: Any) -> dict[str, Any]:
    """A CRD with one version for each schema of `spec.q`."""
    versions = [
        {
            "name": f"v{number}",
            "served": True,
            "storage": number == 1,
            "schema": {
                "openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {"type": "object", "properties": {"q": schema}},
                        "status": {"type": "object", "properties": {"n": {"type": "integer"}}},
                    },
                }
            },
            **version,
        }
        for number, schema in enumerate(schemas, 1)
    ]
    names = {"plural": "news", "kind": "New"}
    spec = {"group": "example.dev", "scope": "Namespaced", "names": names, "versions": versions}
    return {"metadata": {"name": "news.example.dev"}, "spec": spec}


def defined(schema: Any, **version: Any) -> Registry:
    registry = open_registry(None)
    registry.create(CRDS, crd(schema, **version))
    return registry


def made(registry: Registry, q: Any) -> dict[str, Any]:
    obj = {"apiVersion": "example.dev/v1", "kind": "New", "metadata": {"name": "n"}, "spec": {"q": q}}
    return registry.create("news.example.dev", obj)


def ruled(kind: str, **rule: Any) -> dict[str, Any]:
    return {"type": kind, RULES: [rule]}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (ruled("integer", rule=""), f"{HERE}.{RULES}[0].rule: Required value: rule is not specified"),
        (ruled("integer", rule="self >"), f"{HERE}.{RULES}[0].rule: Invalid value: {{"),
        (
            ruled("object", rule="has(self.gone) && 'self.x' == 'y'"),
            "compilation failed: ERROR: <input>:1:9: undefined field 'gone'",
        ),
        (ruled("integer", rule="self > 0", message="a\nb"), "must not contain line breaks"),
        (ruled("integer", rule="self > 0", reason="Because"), 'reason: Unsupported value: "Because"'),
        ({"type": "thing"}, f'{HERE}.type: Unsupported value: "thing": supported values: "array"'),
        ({"type": "string", "default": 3}, f'{HERE}.default: Invalid value: "integer"'),
        (
            {"type": "object", "default": {}, "required": ["a"], "properties": {"a": {"type": "string"}}},
            f"{HERE}.default.a: Required value",
        ),
        ({"type": "string", "pattern": "("}, "error parsing regexp: missing closing ): `(`"),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"},
            "x-kubernetes-list-map-keys: Required value",
        ),
    ],
)
def test_a_crd_with_a_schema_that_cannot_work_is_refused(schema: Any, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        open_registry(None).create(CRDS, crd(schema))
    assert says in refused.value.message


def test_what_versions_do_not_share_is_refused_with_its_version() -> None:
    with pytest.raises(Invalid, match=r"spec\.versions\[1\]\.schema\.openAPIV3Schema"):
        open_registry(None).create(CRDS, crd({"type": "string"}, {"type": "thing"}))


def test_fields_in_texts_of_rules_are_no_fields() -> None:
    registry = defined(
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            RULES: [{"rule": "self.a == 'self.b'"}],
        }
    )
    made(registry, {"a": "self.b"})


@pytest.mark.parametrize(
    ("index", "says"), [("1", "index out of bounds: 1"), ("-1", "index out of bounds: -1")]
)
def test_a_rule_that_looks_beyond_a_list_refuses_with_the_index(index: str, says: str) -> None:
    items = {"type": "array", "items": {"type": "integer"}}
    registry = defined({**items, RULES: [{"rule": f"self[{index}] > 0", "message": "never"}]})
    with pytest.raises(Invalid) as refused:
        made(registry, [5])
    assert f'spec.q: Invalid value: "array": {says} evaluating rule: never' in refused.value.message


def test_a_rule_with_an_optional_old_value_is_asked_on_creation_too() -> None:
    rule = {
        "rule": "oldSelf.hasValue() ? oldSelf.value() != 'last' : self == 'first'",
        "optionalOldSelf": True,
        "message": "begin with first, end with last",
    }
    registry = defined({"type": "string", RULES: [rule]})
    with pytest.raises(Invalid, match="begin with first"):
        made(registry, "last")
    made(registry, "first")
    registry.patch("news.example.dev", "default", "n", {"spec": {"q": "last"}})
    with pytest.raises(Invalid, match="end with last"):
        registry.patch("news.example.dev", "default", "n", {"spec": {"q": "more"}})


def test_replicas_that_scale_cannot_read_are_refused_with_their_path() -> None:
    paths = {"specReplicasPath": ".spec.q", "statusReplicasPath": ".status.n"}
    schema = {"x-kubernetes-int-or-string": True}
    registry = defined(schema, subresources={"status": {}, "scale": paths})
    with pytest.raises(Invalid) as refused:
        made(registry, "five")
    text = ".spec.q: Invalid value: 0: .spec.q accessor error: five is of the type string, expected int64"
    assert text in refused.value.message
    with pytest.raises(Invalid, match=r"\.spec\.q: Invalid value: -1: should be a non-negative integer"):
        made(registry, -1)


def test_a_status_is_checked_alone_and_told_from_there() -> None:
    registry = defined({"type": "string"}, subresources={"status": {}})
    made(registry, "q")
    with pytest.raises(Invalid) as refused:
        registry.patch("news.example.dev", "default", "n", {"status": {"n": "x"}}, "status")
    assert 'status.n: Invalid value: "string": n in body must be of type integer' in refused.value.message


def test_whole_numbers_are_stored_as_such_and_embedded_metadata_is_pruned() -> None:
    registry = defined({"type": "number", "default": 2.0})
    assert repr(made(registry, 3.0)["spec"]["q"]) == "3"
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True}
    registry = defined(embedded)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "odd": 1}}
    assert made(registry, pod)["spec"]["q"]["metadata"] == {"name": "p"}
