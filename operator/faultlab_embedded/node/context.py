"""What every part of the node needs to know, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp

from faultlab_embedded.network.bridge import NODE_ADDRESS, Bridge
from faultlab_embedded.node.claims import Claims
from faultlab_embedded.node.hosts import HostsKeeper
from faultlab_embedded.node.images import ImageTable
from faultlab_embedded.node.launch import Launcher
from faultlab_embedded.node.places import RUN_DIRECTORY
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.node.volumes import Access
from faultlab_embedded.store.registry import Registry


@dataclass(frozen=True, slots=True)
class NodeContext:
    """The node's collaborators and settings."""

    registry: Registry
    home: Path
    images: ImageTable
    bridge: Bridge
    launcher: Launcher
    recorder: Recorder
    hosts: HostsKeeper
    claims: Claims
    http: aiohttp.ClientSession
    access: Access
    api_port: int
    run: Path = RUN_DIRECTORY
    address: str = NODE_ADDRESS

    def log_directory(self, namespace: str, name: str, uid: str) -> Path:
        """Where the logs of a pod's containers are, one directory each."""
        return self.home / "logs" / f"{namespace}_{name}_{uid}"
