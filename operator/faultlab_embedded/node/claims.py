"""PersistentVolumeClaims: each one is a directory below HOME, bound at once and deleted with the claim."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faultlab_embedded.node.environment import ConfigError
from faultlab_embedded.store.errors import ApiError
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]


class Claims:
    """The directories are named by the claim's uid: a claim made anew under an old name starts empty.

    The data of a deleted claim goes once no pod that was started with it is left.
    """

    def __init__(self, registry: Registry, home: Path) -> None:
        self._registry = registry
        self._root = home / "claims"
        self._users: dict[str, set[str]] = {}
        self._deleted: set[str] = set()

    def path(self, namespace: str, name: str, pod_uid: str) -> Path:
        """The directory of a claim, for a pod that will use it.

        Raises ConfigError where there is no such claim.
        """
        found = self._registry.find("persistentvolumeclaims", namespace, name)
        if found is None:
            raise ConfigError(f'persistentvolumeclaim "{name}" not found')
        self._users.setdefault(found.uid, set()).add(pod_uid)
        directory = self._root / found.uid
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o777)
        return directory

    async def released(self, pod_uid: str) -> None:
        """A pod is gone."""
        for users in self._users.values():
            users.discard(pod_uid)
        # Settled before the first await: other pods are released while this one's files go.
        unused = [uid for uid, users in self._users.items() if not users]
        for uid in unused:
            del self._users[uid]
        for uid in self._deleted.intersection(unused):
            await self._remove(uid)

    async def changed(self, event: str, claim: Object) -> None:
        """An event of the watch on claims."""
        uid = claim["metadata"]["uid"]
        if event == "DELETED":
            if uid in self._users:
                self._deleted.add(uid)
            else:
                await self._remove(uid)
        elif (claim.get("status") or {}).get("phase") != "Bound":
            self._bind(claim)

    def sweep(self) -> None:
        """Deletes directories whose claim went while the world was down."""
        known = {claim["metadata"]["uid"] for claim in self._registry.list("persistentvolumeclaims")}
        for directory in self._root.iterdir() if self._root.is_dir() else ():
            if directory.name not in known:
                shutil.rmtree(directory, ignore_errors=True)

    def _bind(self, claim: Object) -> None:
        meta, spec = claim["metadata"], claim["spec"]
        size = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "1Gi")
        status = {
            "phase": "Bound",
            "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
            "capacity": {"storage": size},
        }
        place = ("persistentvolumeclaims", meta["namespace"], meta["name"])
        try:
            if not spec.get("volumeName"):
                self._registry.patch(*place, {"spec": {"volumeName": f"pvc-{meta['uid']}"}})
            self._registry.patch(*place, {"status": status}, subresource="status")
        except ApiError:
            return  # deleted or changed meanwhile: its next event tells

    async def _remove(self, uid: str) -> None:
        self._deleted.discard(uid)
        await asyncio.to_thread(shutil.rmtree, self._root / uid, ignore_errors=True)
