"""The objects that the operator watches, as last seen, by kind.

Filled by kopf's watches and by the answers to the operator's own writes; read by reconcilers. An
object is never changed in place: treat what `get` and `list` return as read-only.
"""

from collections.abc import Callable, Mapping
from typing import Any

from faultlab_operator.core.keys import Key, key_of

Object = Mapping[str, Any]
Listener = Callable[[Key, Object | None, Object | None], None]
"""Called with the key, the object before and the object now (None: not there)."""


class Cache:
    """Objects by kind, namespace and name. Not thread-safe: lives on the operator's loop."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._listeners: list[Listener] = []

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, or None if it does not exist (or is not watched)."""
        return self._objects.get(kind, {}).get((namespace, name))

    def list(
        self, kind: str, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """All objects of a kind, in a namespace and with these labels if given, ordered by name."""
        return [
            obj
            for (where, _), obj in sorted(self._objects.get(kind, {}).items())
            if (namespace is None or where == namespace)
            and (not labels or labels.items() <= (obj["metadata"].get("labels") or {}).items())
        ]

    def listen(self, listener: Listener) -> None:
        """Calls `listener` at every change from now on."""
        self._listeners.append(listener)

    def put(self, obj: Object) -> None:
        """Takes an object in, unless a newer version of the same one is known.

        A watch can be behind the answer to the operator's own write. Versions that are not numbers
        cannot be compared and are taken as they come.
        """
        key = key_of(obj)
        known = self._objects.setdefault(key.kind, {})
        before = known.get((key.namespace, key.name))
        if before is not None and _older(obj, before):
            return
        known[key.namespace, key.name] = obj
        if before is None or before["metadata"].get("resourceVersion") != obj["metadata"].get(
            "resourceVersion"
        ):
            self._tell(key, before, obj)

    def drop(self, obj: Object) -> None:
        """Forgets an object that was deleted; a successor of the same name stays."""
        key = key_of(obj)
        known = self._objects.get(key.kind, {})
        before = known.get((key.namespace, key.name))
        if before is None:
            return
        uid = obj["metadata"].get("uid")
        if uid and before["metadata"].get("uid") not in (None, uid):
            return
        del known[key.namespace, key.name]
        self._tell(key, before, None)

    def keys(self, kind: str) -> set[Key]:
        """The keys of all known objects of a kind."""
        return {Key(kind, *where) for where in self._objects.get(kind, {})}

    def _tell(self, key: Key, before: Object | None, now: Object | None) -> None:
        for listener in self._listeners:
            listener(key, before, now)


def _older(candidate: Object, known: Object) -> bool:
    new, old = candidate["metadata"], known["metadata"]
    if new.get("uid") != old.get("uid"):
        return False
    try:
        return int(new["resourceVersion"]) < int(old["resourceVersion"])
    except (KeyError, ValueError):
        return False
