"""Keeps /etc/hosts of every running pod in step with the Endpoints."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultlab_embedded.network import names

Object = Mapping[str, Any]
_SETTLE_S = 0.005


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    namespace: str
    hostname: str
    address: str
    own_names: tuple[str, ...]


class HostsKeeper:
    """Rewrites files in place: they are bind-mounted, and a file renamed over would not be seen in the
    pods."""

    def __init__(self, node_address: str) -> None:
        self._node_address = node_address
        self._endpoints: dict[tuple[str, str], Object] = {}
        self._entries: dict[str, _Entry] = {}
        self._scheduled = False

    def add(self, pod: Object, path: Path, address: str) -> None:
        """Writes a pod's file now and keeps it from here on."""
        meta, spec = pod["metadata"], pod["spec"]
        hostname = spec.get("hostname") or meta["name"]
        own: tuple[str, ...] = ()
        if subdomain := spec.get("subdomain"):
            own = (f"{hostname}.{subdomain}.{meta['namespace']}.svc.{names.CLUSTER_DOMAIN}",)
        entry = _Entry(path, meta["namespace"], hostname, address, own)
        self._entries[meta["uid"]] = entry
        _write_in_place(path, self._text(entry))

    def remove(self, uid: str) -> None:
        """The pod is gone."""
        self._entries.pop(uid, None)

    def endpoints_changed(self, event: str, endpoints: Object) -> None:
        """An event of the watch on Endpoints. Files follow within some milliseconds."""
        key = (endpoints["metadata"]["namespace"], endpoints["metadata"]["name"])
        if event == "DELETED":
            self._endpoints.pop(key, None)
        else:
            self._endpoints[key] = endpoints
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_later(_SETTLE_S, self._rewrite)

    def _rewrite(self) -> None:
        self._scheduled = False
        for entry in self._entries.values():
            if entry.path.exists():
                _write_in_place(entry.path, self._text(entry))

    def _text(self, entry: _Entry) -> str:
        lines = names.service_lines(self._endpoints.values(), entry.namespace)
        api = (self._node_address, names.names_of("kubernetes", "default", entry.namespace))
        return names.hosts_file(
            [api, *lines], hostname=entry.hostname, address=entry.address, own_names=entry.own_names
        )


def _write_in_place(path: Path, text: str) -> None:
    raw = text.encode()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.pread(fd, len(raw) + 1, 0) == raw:
            return
        os.pwrite(fd, raw, 0)
        os.ftruncate(fd, len(raw))
    finally:
        os.close(fd)
