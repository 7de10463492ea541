"""The life of an embedded world: `up`, `hold`, `status`, `down`. Imports only what these need."""

from faultlab_embedded.node.images import Image, ImageTable, default_table
from faultlab_embedded.world.errors import (
    NamespacesForbidden,
    NotLinux,
    NotRunning,
    PortTaken,
    StartFailed,
    StopFailed,
    WorldError,
)
from faultlab_embedded.world.holding import hold
from faultlab_embedded.world.home import WorldInfo
from faultlab_embedded.world.launcher import up
from faultlab_embedded.world.lifecycle import down, status

__all__ = [
    "Image",
    "ImageTable",
    "NamespacesForbidden",
    "NotLinux",
    "NotRunning",
    "PortTaken",
    "StartFailed",
    "StopFailed",
    "WorldError",
    "WorldInfo",
    "default_table",
    "down",
    "hold",
    "status",
    "up",
]
