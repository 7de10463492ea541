"""ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, so that old pods can be told
apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from faultlab_embedded.controllers.pods import template_hash
from faultlab_embedded.controllers.runtime import controller_of, owner_reference
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "controllerrevisions.apps"
HASH_LABEL = "controller-revision-hash"
_OWN_HASH_LABEL = "controller.kubernetes.io/hash"
"""Of the revisions of a StatefulSet; those of a DaemonSet have the label that its pods have."""
_DEFAULT_LIMIT = 10


def update_revision(registry: Registry, owner: Object, hash_label_is_name: bool) -> tuple[str, str]:
    """Makes sure that the owner's present template has its revision: (name, value of the pods' hash
    label)."""
    template = owner["spec"]["template"]
    digest = template_hash(template)
    name = f"{owner['metadata']['name']}-{digest}"
    namespace = owner["metadata"]["namespace"]
    known = revisions(registry, owner)
    newest = max((int(r.get("revision") or 0) for r in known), default=0)
    mine = next((r for r in known if r["metadata"]["name"] == name), None)
    if mine is None:
        registry.create(
            RESOURCE,
            {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {
                        **((template.get("metadata") or {}).get("labels") or {}),
                        _OWN_HASH_LABEL if hash_label_is_name else HASH_LABEL: digest,
                    },
                    **({"annotations": noted} if (noted := owner["metadata"].get("annotations")) else {}),
                    "ownerReferences": [owner_reference(owner)],
                },
                # As a strategic merge patch, which `kubectl rollout undo` sends back.
                "data": {"spec": {"template": {"$patch": "replace", **template}}},
                "revision": newest + 1,
            },
        )
    elif int(mine.get("revision") or 0) < newest:  # a template that has been there before
        registry.patch(RESOURCE, namespace, name, {"revision": newest + 1})
    return name, name if hash_label_is_name else digest


def revisions(registry: Registry, owner: Object) -> list[dict[str, Any]]:
    """All revisions of the owner."""
    uid = owner["metadata"]["uid"]
    held = registry.list(RESOURCE, owner["metadata"]["namespace"])
    return [revision for revision in held if (controller_of(revision) or {}).get("uid") == uid]


def template_of(registry: Registry, owner: Object, name: str) -> Object:
    """The pod template of a revision; the present one if the revision is gone."""
    found = registry.find(RESOURCE, owner["metadata"]["namespace"], name)
    template: Object = (
        found.decode()["data"]["spec"]["template"] if found is not None else owner["spec"]["template"]
    )
    return {key: value for key, value in template.items() if key != "$patch"}


def prune(registry: Registry, owner: Object, in_use: set[str]) -> None:
    """Deletes the oldest revisions beyond `revisionHistoryLimit` that no pod has."""
    limit = owner["spec"].get("revisionHistoryLimit")
    unused = [r for r in revisions(registry, owner) if r["metadata"]["name"] not in in_use]
    unused.sort(key=lambda r: int(r.get("revision") or 0))
    excess = len(unused) - (_DEFAULT_LIMIT if limit is None else int(limit))
    for revision in unused[: max(0, excess)]:
        meta = revision["metadata"]
        registry.delete(RESOURCE, meta["namespace"], meta["name"])
