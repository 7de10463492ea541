"""Opens a registry as a new or restarted world has it."""

from __future__ import annotations

from pathlib import Path

from faultlab_embedded.kinds.catalog import builtin_catalog
from faultlab_embedded.store.database import Database
from faultlab_embedded.store.registry import Registry

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


def open_registry(path: Path | None) -> Registry:
    """The registry kept in the file at `path` (made where missing), or one in memory; with the system
    namespaces.

    Raises InternalError for a file that cannot be used.
    """
    registry = Registry(builtin_catalog(), Database(path))
    for name in SYSTEM_NAMESPACES:
        if registry.find("namespaces", None, name) is None:
            registry.create("namespaces", {"metadata": {"name": name}})
    return registry
