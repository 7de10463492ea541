"""All conversations, CRDs and declared differences, gathered from the modules of `talks`.

A module there has CONVERSATIONS, and where it needs them CRDS (installed before the first conversation) and
DECLARED.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from parity.conversation import HOMES, Conversation
from parity.declared import Declared

_MODULES = [
    importlib.import_module(f"parity.talks.{file.stem}")
    for file in sorted((Path(__file__).parent / "talks").glob("*.py"))
]

CONVERSATIONS: list[Conversation] = [talk for module in _MODULES for talk in module.CONVERSATIONS]
ALL_DECLARED: list[Declared] = [item for module in _MODULES for item in getattr(module, "DECLARED", ())]
ALL_CRDS: list[dict[str, Any]] = [crd for module in _MODULES for crd in getattr(module, "CRDS", ())]
HOMES_OF_ALL = HOMES | {
    crd["spec"]["names"]["plural"]: f"/apis/{crd['spec']['group']}/{crd['spec']['versions'][0]['name']}"
    for crd in ALL_CRDS
}
