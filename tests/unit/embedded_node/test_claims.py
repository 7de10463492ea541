"""Claims' directories: whose data goes when, and that nobody is in anybody's way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from faultlab_embedded.node.claims import Claims
from faultlab_embedded.store.open import open_registry


def claim(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }


async def test_pods_that_end_together_give_up_their_deleted_claims(tmp_path: Path) -> None:
    registry = open_registry(None)
    claims = Claims(registry, tmp_path)
    made = [registry.create("persistentvolumeclaims", claim(f"data-{number}")) for number in range(5)]
    directories = [claims.path("default", f"data-{number}", f"pod-{number}") for number in range(5)]
    for each in made:
        await claims.changed("DELETED", each)
    assert all(directory.is_dir() for directory in directories), "pods still use them"
    await asyncio.gather(*(claims.released(f"pod-{number}") for number in range(5)))
    assert not any(directory.exists() for directory in directories)


async def test_a_deleted_claims_data_stays_until_the_last_pod_that_uses_it_is_gone(tmp_path: Path) -> None:
    registry = open_registry(None)
    claims = Claims(registry, tmp_path)
    made = registry.create("persistentvolumeclaims", claim("data"))
    directory = claims.path("default", "data", "one")
    claims.path("default", "data", "two")
    await claims.changed("DELETED", made)
    await claims.released("one")
    assert directory.is_dir()
    await claims.released("two")
    assert not directory.exists()
