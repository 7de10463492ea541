"""What a reconciler is asked to look at: one object by kind, namespace and name."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Key(NamedTuple):
    """One object; `kind` as in manifests, `RaftCluster`."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def key_of(obj: Mapping[str, Any]) -> Key:
    """The key of an object as on the wire."""
    metadata = obj["metadata"]
    return Key(obj["kind"], metadata.get("namespace", ""), metadata["name"])
