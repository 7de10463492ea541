"""Custom resources: what a schema lets in, fills in and drops, and what CEL rules say."""

from __future__ import annotations

from typing import Any

import pytest

from faultlab_embedded.store.errors import ApiError, BadRequest, Forbidden, Invalid, NotFound
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry, Write

THINGS = "things.example.dev"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def crd(spec_schema: dict[str, Any], **version: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": spec_schema,
            "status": {"type": "object", "properties": {"n": {"type": "integer"}}},
        },
    }
    return {
        "metadata": {"name": THINGS},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                    **version,
                }
            ],
        },
    }


def with_schema(**properties: Any) -> Registry:
    return with_spec({"type": "object", "properties": properties})


def with_spec(spec: dict[str, Any]) -> Registry:
    registry = open_registry(None)
    registry.create(CRDS, crd(spec))
    return registry


def make(registry: Registry, spec: Any, name: str = "t", **write: Any) -> dict[str, Any]:
    obj = {"apiVersion": "example.dev/v1", "kind": "Thing", "metadata": {"name": name}, "spec": spec}
    return registry.create(THINGS, obj, Write(**write))


def refusal(registry: Registry, spec: Any) -> str:
    with pytest.raises(Invalid) as refused:
        make(registry, spec)
    return refused.value.message


def test_a_crd_serves_its_resource_from_the_moment_it_is_there() -> None:
    registry = with_schema()
    found = registry.get(CRDS, None, THINGS)
    conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert found["status"]["acceptedNames"]["listKind"] == "ThingList"
    assert found["status"]["storedVersions"] == ["v1"]
    make(registry, {})


def test_deleting_a_crd_takes_its_objects_and_waits_for_their_finalizers() -> None:
    registry = with_schema()
    make(registry, {}, "plain")
    obj = make(registry, {}, "held")
    obj["metadata"]["finalizers"] = ["x.dev/hold"]
    registry.update(THINGS, obj)
    assert registry.delete(CRDS, None, THINGS) is not None
    assert [item["metadata"]["name"] for item in registry.list(THINGS)] == ["held"]
    with pytest.raises(Forbidden, match="create not allowed while custom resource definition is terminating"):
        make(registry, {}, "late")
    registry.patch(THINGS, "default", "held", {"metadata": {"finalizers": None}})
    with pytest.raises(NotFound):
        registry.list(THINGS)


def test_defaults_are_filled_in_at_every_depth() -> None:
    registry = with_schema(
        a={"type": "integer", "default": 5},
        inner={"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": "x"}}},
        items={
            "type": "array",
            "items": {"type": "object", "properties": {"c": {"type": "boolean", "default": True}}},
        },
        nothing={"type": "string", "nullable": True, "default": "y"},
    )
    made = make(registry, {"items": [{}, {"c": False}], "a": None, "nothing": None})
    assert made["spec"] == {
        "a": 5,
        "inner": {"b": "x"},
        "items": [{"c": True}, {"c": False}],
        "nothing": None,
    }


def test_a_null_that_is_not_allowed_counts_as_left_out() -> None:
    registry = with_schema(
        plain={"type": "string"},
        table={"type": "object", "additionalProperties": {"type": "string"}},
        needed={"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}},
    )
    assert make(registry, {"plain": None, "table": {"a": None, "b": "c"}})["spec"] == {"table": {"b": "c"}}
    assert "spec.needed.x: Required value" in refusal(registry, {"needed": {"x": None}})


def test_rules_are_not_asked_of_what_has_the_wrong_shape() -> None:
    spec = {
        "type": "object",
        "required": ["n"],
        "properties": {"n": {"type": "integer", "minimum": 5}},
        "x-kubernetes-validations": [rule("self.n > 7", "n is too small")],
    }
    registry = with_spec(spec)
    refused = refusal(registry, {})
    assert "spec.n: Required value" in refused
    assert "some validation rules were not checked because the object was invalid" in refused
    both = refusal(registry, {"n": 1})
    assert "should be greater than or equal to 5" in both
    assert "n is too small" in both


def test_unknown_fields_are_dropped_named_or_refused() -> None:
    registry = with_schema(
        known={"type": "object", "properties": {}},
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        table={"type": "object", "additionalProperties": {"type": "string"}},
    )
    spec = {"known": {"x": 1}, "free": {"any": {"thing": [1]}}, "table": {"k": "v"}, "odd": 1}
    warnings: list[str] = []
    made = make(registry, spec, warnings=warnings)
    assert made["spec"] == {"known": {}, "free": {"any": {"thing": [1]}}, "table": {"k": "v"}}
    assert warnings == ['unknown field "spec.known.x"', 'unknown field "spec.odd"']
    with pytest.raises(BadRequest, match=r'strict decoding error: unknown field "spec.known.x"'):
        make(registry, spec, "other", strict=True)


@pytest.mark.parametrize(
    ("schema", "value", "says"),
    [
        ({"type": "integer"}, "x", 'spec.f in body must be of type integer: "string"'),
        ({"type": "string"}, 3, 'spec.f in body must be of type string: "integer"'),
        ({"type": "boolean"}, "true", 'must be of type boolean: "string"'),
        ({"type": "array", "items": {"type": "string"}}, {}, 'must be of type array: "object"'),
        (
            {"type": "array", "items": {"type": "integer"}},
            [None],
            'spec.f[0] in body must be of type integer: "null"',
        ),
        ({"type": "integer"}, 1.5, 'must be of type integer: "number"'),
        ({"type": "integer", "minimum": 1}, 0, "spec.f in body should be greater than or equal to 1"),
        ({"type": "integer", "maximum": 5}, 6, "should be less than or equal to 5"),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0, "should be greater than 0"),
        ({"type": "integer", "multipleOf": 2}, 3, "should be a multiple of 2"),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "string", "pattern": "^a+$"}, "ab", "spec.f in body should match '^a+$'"),
        ({"type": "string", "maxLength": 2}, "abc", "spec.f: Too long: may not be more than 2 bytes"),
        ({"type": "string", "minLength": 1}, "", "should be at least 1 chars long"),
        ({"type": "string", "format": "date-time"}, "yesterday", "must be of type date-time"),
        ({"type": "array", "maxItems": 1, "items": {"type": "integer"}}, [1, 2], "must have at most 1 item"),
        ({"type": "array", "minItems": 1, "items": {"type": "integer"}}, [], "should have at least 1 items"),
        (
            {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            ["a", "a"],
            'spec.f[1]: Duplicate value: "a"',
        ),
        (
            {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            },
            [{"k": "a"}, {"k": "a"}],
            'spec.f[1]: Duplicate value: {"k":"a"}',
        ),
        (
            {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}},
            {},
            "spec.f.x: Required value",
        ),
        ({"x-kubernetes-int-or-string": True}, 1.5, "must be of type integer,string"),
        (
            {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
            {"a": "", "b": ""},
            "at most 1",
        ),
        (
            {"type": "integer", "oneOf": [{"minimum": 5}, {"maximum": 9}]},
            7,
            "one and only one schema (oneOf)",
        ),
        ({"type": "integer", "anyOf": [{"minimum": 9}, {"maximum": 5}]}, 7, "at least one schema (anyOf)"),
        ({"type": "integer", "not": {"minimum": 5}}, 7, "must not validate the schema (not)"),
    ],
)
def test_a_value_that_the_schema_forbids_is_refused_in_kubernetes_words(
    schema: Any, value: Any, says: str
) -> None:
    assert says in refusal(with_schema(f=schema), {"f": value})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number"}, 3),
        ({"x-kubernetes-int-or-string": True}, "25%"),
        ({"x-kubernetes-int-or-string": True}, 3),
        ({"type": "string", "nullable": True}, None),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00.123456Z"),
        ({"type": "string", "maxLength": 2}, "éé"),
    ],
)
def test_a_value_that_the_schema_allows_is_taken(schema: Any, value: Any) -> None:
    assert make(with_schema(f=schema), {"f": value})["spec"] == {"f": value}


def test_every_error_is_told_at_once_with_its_cause() -> None:
    registry = with_schema(a={"type": "integer", "minimum": 1}, b={"type": "string", "enum": ["x"]})
    with pytest.raises(Invalid) as refused:
        make(registry, {"a": 0, "b": "y"})
    status = refused.value.status()
    assert status["code"] == 422
    assert status["message"].startswith('Thing.example.dev "t" is invalid: [spec.a: ')
    causes = status["details"]["causes"]
    assert [(c["field"], c["reason"]) for c in causes] == [
        ("spec.a", "FieldValueInvalid"),
        ("spec.b", "FieldValueNotSupported"),
    ]


# CEL


def rule(text: str, message: str = "no", **more: str) -> dict[str, Any]:
    return {"rule": text, "message": message, **more}


def test_a_rule_speaks_with_its_own_message() -> None:
    registry = with_spec(
        {
            "type": "object",
            "properties": {"n": {"type": "integer"}, "names": {"type": "array", "items": {"type": "string"}}},
            "x-kubernetes-validations": [
                rule("self.n % 2 == 1", "n must be odd: write 1 or 3"),
                rule("!has(self.names) || self.names.all(x, x.startsWith('a'))", "names start with a"),
            ],
        }
    )
    assert refusal(registry, {"n": 2, "names": ["b"]}) == (
        'Thing.example.dev "t" is invalid: [spec: Invalid value: "object": n must be odd: write 1 or 3, '
        'spec: Invalid value: "object": names start with a]'
    )
    make(registry, {"n": 3, "names": ["a"]})


def test_a_message_may_be_computed_and_point_at_a_field() -> None:
    registry = with_spec(
        {
            "type": "object",
            "properties": {"low": {"type": "integer"}, "high": {"type": "integer"}},
            "x-kubernetes-validations": [
                {
                    "rule": "self.low <= self.high",
                    "messageExpression": "'low is ' + string(self.low)",
                    "fieldPath": ".low",
                }
            ],
        }
    )
    assert "spec.low: Invalid value" in refusal(registry, {"low": 5, "high": 3})
    assert "low is 5" in refusal(registry, {"low": 5, "high": 3})


def test_a_rule_without_a_message_shows_itself() -> None:
    registry = with_schema(n={"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1"}]})
    assert 'spec.n: Invalid value: "integer": failed rule: self > 1' in refusal(registry, {"n": 1})


def test_a_transition_rule_holds_on_update_alone() -> None:
    registry = with_spec(
        {
            "type": "object",
            "properties": {"size": {"type": "integer"}, "note": {"type": "string"}},
            "x-kubernetes-validations": [rule("self.size == oldSelf.size", "size is immutable")],
        }
    )
    make(registry, {"size": 1})
    registry.patch(THINGS, "default", "t", {"spec": {"note": "x"}})
    with pytest.raises(Invalid, match="size is immutable"):
        registry.patch(THINGS, "default", "t", {"spec": {"size": 2}})


def test_transition_rules_find_the_old_item_of_a_keyed_list() -> None:
    items = {
        "type": "object",
        "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
        "required": ["k"],
        "x-kubernetes-validations": [rule("self.v >= oldSelf.v", "v may only grow")],
    }
    registry = with_schema(
        f={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": items,
        }
    )
    make(registry, {"f": [{"k": "a", "v": 1}, {"k": "b", "v": 5}]})
    registry.patch(THINGS, "default", "t", {"spec": {"f": [{"k": "b", "v": 6}, {"k": "c", "v": 0}]}})
    with pytest.raises(Invalid, match=r"spec.f\[1\]: .* v may only grow"):
        registry.patch(THINGS, "default", "t", {"spec": {"f": [{"k": "c", "v": 0}, {"k": "b", "v": 2}]}})


def test_numbers_times_and_durations_have_their_types() -> None:
    registry = with_spec(
        {
            "type": "object",
            "properties": {
                "x": {"type": "number"},
                "at": {"type": "string", "format": "date-time"},
                "wait": {"type": "string"},
            },
            "x-kubernetes-validations": [
                rule("self.x > 0.5", "x"),
                rule("self.at > timestamp('2020-01-01T00:00:00Z')", "at"),
                rule("duration(self.wait) >= duration('1s')", "wait"),
            ],
        }
    )
    make(registry, {"x": 1, "at": "2026-01-01T00:00:00Z", "wait": "1500ms"})
    refused = refusal(registry, {"x": 0.25, "at": "2019-01-01T00:00:00Z", "wait": "100ms"})
    assert all(f'"object": {what}' in refused for what in ("x", "at", "wait"))


def test_a_rule_that_cannot_be_evaluated_refuses() -> None:
    registry = with_spec(
        {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "x-kubernetes-validations": [rule("int(self.a) > 1")],
        }
    )
    assert "evaluating rule: no" in refusal(registry, {"a": "x"})


def test_a_rule_sees_the_name_and_escaped_fields() -> None:
    registry = open_registry(None)
    definition = crd(
        {"type": "object", "properties": {"namespace": {"type": "string"}, "a-b": {"type": "string"}}}
    )
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["x-kubernetes-validations"] = [
        rule("self.metadata.name.size() <= 3", "a short name"),
        rule("self.spec.__namespace__ == self.spec.a__dash__b", "the same"),
    ]
    registry.create(CRDS, definition)
    make(registry, {"namespace": "x", "a-b": "x"})
    with pytest.raises(Invalid, match="a short name"):
        make(registry, {"namespace": "x", "a-b": "x"}, "long-name")
    assert "the same" in refusal(registry, {"namespace": "x", "a-b": "y"})


def test_an_old_object_need_not_mend_what_a_new_rule_forbids() -> None:
    registry = with_schema(a={"type": "integer"}, b={"type": "integer"})
    make(registry, {"a": 1, "b": 1})
    stricter = crd({"type": "object", "properties": {
        "a": {"type": "integer", "x-kubernetes-validations": [rule("self > 5", "a is too small")]},
        "b": {"type": "integer"},
    }})  # fmt: skip
    registry.update(CRDS, stricter)
    registry.patch(THINGS, "default", "t", {"spec": {"b": 2}})
    with pytest.raises(Invalid, match="a is too small"):
        registry.patch(THINGS, "default", "t", {"spec": {"a": 2}})


# CRDs that are refused


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metadata": {"name": "wrong.example.dev"}}, 'must be spec.names.plural+"."+spec.group'),
        ({"spec": {"scope": "Galaxy"}}, 'supported values: "Cluster", "Namespaced"'),
        ({"spec": {"versions": []}}, "must have at least one version"),
        ({"spec": {"names": {"kind": ""}}}, "spec.names.kind: Required value"),
    ],
)
def test_a_crd_that_cannot_be_served_is_refused(change: Any, says: str) -> None:
    from faultlab_embedded.store.merge import merge

    with pytest.raises(ApiError, match=says.replace("+", r"\+").replace(".", r"\.")):
        open_registry(None).create(CRDS, merge(crd({"type": "object"}), change))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "object", "properties": {"a": {}}}, r"properties\[a\].type: Required value"),
        ({"type": "object", "$ref": "#/x"}, "ref is not supported in a structural schema"),
        ({"type": "integer", "minimum": 0, "exclusiveMinimum": 0}, "exclusiveMinimum"),
        ({"type": "string", "pattern": "("}, "valid regular expression"),
        ({"type": "object", "x-kubernetes-validations": [rule("self.a ===")]}, "compilation failed"),
        ({"type": "array"}, "items: Required value"),
    ],
)
def test_a_schema_that_cannot_be_checked_against_is_refused(schema: Any, says: str) -> None:
    with pytest.raises(ApiError, match=says):
        with_spec(schema)


# Versions, tables


async def test_two_versions_are_one_object(api: Any) -> None:
    definition = crd({"type": "object", "properties": {"a": {"type": "integer"}}})
    first = definition["spec"]["versions"][0]
    definition["spec"]["versions"] = [{**first, "name": "v1alpha1", "storage": False}, first]
    api.registry.create(CRDS, definition)
    old = "/apis/example.dev/v1alpha1/namespaces/default/things"
    body = {
        "apiVersion": "example.dev/v1alpha1",
        "kind": "Thing",
        "metadata": {"name": "t"},
        "spec": {"a": 1},
    }
    assert (await api.ok("POST", old, body))["apiVersion"] == "example.dev/v1alpha1"
    new = await api.ok("GET", old.replace("v1alpha1", "v1") + "/t")
    assert new["apiVersion"] == "example.dev/v1"
    assert (await api.ok("GET", old))["items"][0]["apiVersion"] == "example.dev/v1alpha1"
    group = await api.ok("GET", "/apis/example.dev")
    assert group["preferredVersion"]["version"] == "v1"


async def test_printer_columns_show_in_tables(api: Any) -> None:
    columns = [
        {"name": "A", "type": "integer", "jsonPath": ".spec.a"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    api.registry.create(CRDS, crd(schema, additionalPrinterColumns=columns))
    make(api.registry, {"a": 7})
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = await api.ok("GET", "/apis/example.dev/v1/things", headers=headers)
    assert table["kind"] == "Table"
    assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "A", "Ready", "Age"]
    cells = table["rows"][0]["cells"]
    assert cells[:3] == ["t", 7, None]
    assert cells[3].endswith("s")
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_a_crd_is_served_again_after_a_restart(tmp_path: Any) -> None:
    first = open_registry(tmp_path / "objects.db")
    first.create(CRDS, crd({"type": "object", "properties": {"a": {"type": "integer", "default": 1}}}))
    make(first, {})
    first.close()
    second = open_registry(tmp_path / "objects.db")
    assert second.get(THINGS, "default", "t")["spec"] == {"a": 1}
    make(second, {}, "later")
    second.close()
