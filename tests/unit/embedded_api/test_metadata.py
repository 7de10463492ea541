"""Metadata: owners, finalizers, deletion, and what is told about them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from faultlab_embedded.apiserver.twice import fields_given_twice
from faultlab_embedded.store.deletion import DeleteOptions
from faultlab_embedded.store.errors import AlreadyExists, BadRequest, Forbidden, Invalid
from faultlab_embedded.store.open import open_registry
from faultlab_embedded.store.registry import Registry, Write

OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}
KEPT = "example.dev/kept"


@pytest.fixture
def registry() -> Registry:
    return open_registry(None)


def config(name: str = "c", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **meta}}


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        (
            {"ownerReferences": [{**OWNER, "name": ""}]},
            'ownerReferences.name: Invalid value: "": must not be',
        ),
        ({"ownerReferences": [{**OWNER, "apiVersion": "a/b/c"}]}, "version must not be empty"),
        (
            {"ownerReferences": [{**OWNER, "kind": "Event"}]},
            "/v1, Kind=Event is disallowed from being an owner",
        ),
        (
            {"ownerReferences": [{**OWNER, "controller": True}, {**OWNER, "uid": "v", "controller": True}]},
            'Found "true" in references for ConfigMap/o and ConfigMap/o',
        ),
        ({"finalizers": ["a b/c"]}, "metadata.finalizers: Invalid value"),
        ({"finalizers": ["orphan", "foregroundDeletion"]}, "cannot be both set"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(registry: Registry, meta: Any, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.create("configmaps", config(**meta))
    assert says in refused.value.message


def test_owners_that_stand_there_twice_are_kept_once_and_told(registry: Registry) -> None:
    told: list[str] = []
    made = registry.create("configmaps", config(ownerReferences=[OWNER, OWNER]), Write(warnings=told))
    assert made["metadata"]["ownerReferences"] == [OWNER]
    assert "duplicate UID(s) observed: u" in told[0]


def test_an_object_that_is_going_keeps_its_grace_period_and_its_name(registry: Registry) -> None:
    registry.create("configmaps", config(finalizers=[KEPT]))
    registry.delete("configmaps", "default", "c", grace_seconds=-5)
    with pytest.raises(Invalid, match=r"deletionGracePeriodSeconds: Invalid value: 7: field is immutable"):
        registry.patch("configmaps", "default", "c", {"metadata": {"deletionGracePeriodSeconds": 7}})
    with pytest.raises(AlreadyExists, match=r'^object is being deleted: configmaps "c" already exists'):
        registry.create("configmaps", config())


def test_dependents_are_orphaned_unasked_by_jobs_and_after_a_delete_that_asked(registry: Registry) -> None:
    pod = {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}
    registry.create("jobs.batch", {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod}}})
    left = registry.remove("jobs.batch", "default", "j", DeleteOptions())
    assert left.obj["metadata"]["finalizers"] == ["orphan"]
    registry.create("configmaps", config(finalizers=[KEPT]))
    assert registry.remove("configmaps", "default", "c", DeleteOptions()).obj["metadata"]["finalizers"] == [
        KEPT
    ]
    registry.remove("configmaps", "default", "c", DeleteOptions(propagation="Orphan"))
    again = registry.remove("configmaps", "default", "c", DeleteOptions())
    assert again.obj["metadata"]["finalizers"] == [KEPT, "orphan"]


def test_a_namespace_that_ends_says_so_with_a_cause(registry: Registry) -> None:
    registry.create("namespaces", {"metadata": {"name": "n"}})
    registry.create("configmaps", config(namespace="n", finalizers=[KEPT]))
    ending = registry.delete("namespaces", None, "n")
    assert ending is not None
    assert "deletionGracePeriodSeconds" not in ending["metadata"]
    with pytest.raises(Forbidden) as refused:
        registry.create("configmaps", config("d", namespace="n"))
    assert refused.value.details["causes"][0]["reason"] == "NamespaceTerminating"  # type: ignore[index]


def test_metadata_that_is_no_object_is_told_as_gos_decoder_does(registry: Registry) -> None:
    text = "json: cannot unmarshal string into Go struct field ConfigMap.metadata of type v1.ObjectMeta"
    with pytest.raises(BadRequest, match=re.escape(text)):
        registry.create("configmaps", {"metadata": "m"})


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 2}', ("a", "b.c")),
        (b'{"a": [{"b": 1}, {"b": 1, "b": 2}]}', ("a[1].b",)),
        (b'{"a": 1}', ()),
        (b"{", ()),
        (b"[" * 100_000, ()),
    ],
)
def test_fields_given_twice_are_found(body: bytes, found: tuple[str, ...]) -> None:
    assert fields_given_twice(body) == found


def test_fields_given_twice_are_told_or_refused(registry: Registry) -> None:
    told: list[str] = []
    registry.create("configmaps", config(), Write(twice=("data.a",), warnings=told))
    assert told == ['duplicate field "data.a"']
    with pytest.raises(BadRequest, match=r'strict decoding error: duplicate field "data\.a"'):
        registry.create("configmaps", config("d"), Write(twice=("data.a",), strict=True))
