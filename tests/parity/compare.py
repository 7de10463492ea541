"""Answers without what may differ between two servers, and what then still differs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MISSING = "<missing>"
PER_SERVER = {"uid", "resourceVersion", "continue"}
"""Fields that each server fills in its own way; that they are filled is compared."""
HASHES = {
    "controller-revision-hash",
    "controller.kubernetes.io/hash",
    "pod-template-hash",
    "currentRevision",
    "updateRevision",
}
"""Names that a controller derives from a template by an algorithm that is its own."""
LIST_KEYS = ("name", "type", "groupVersion", "version", "resource", "subresource", "metadata.name")
"""By which items of two lists are paired, where every item has one of its own."""

_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_VERSIONS = re.compile(
    r"(too large resource version: |too old resource version: |current: |"
    r"ResourceVersion in the precondition \(|ResourceVersion in record \()\d+( \(\d+\))?",
    re.IGNORECASE,
)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^:]*-----END CERTIFICATE-----\n?")
_AGE = re.compile(r"(\d+[smhdy]){1,2}")
_VOLUME = re.compile(r"kube-api-access-\w{5}")
_PATCHED = re.compile(r'((?:is invalid: patch: |^)Invalid value: ")\{.*\}(": )', re.DOTALL)
"""In an error about a patch: the whole object that it makes, with versions and times."""
_SUFFIX = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}$")


@dataclass(frozen=True)
class Difference:
    """One place of an answer where two servers differ: `code`, `warnings`, `type` or `body...`."""

    path: str
    embedded: Any
    real: Any

    def __str__(self) -> str:
        return f"{self.path}\n      embedded {shown(self.embedded)}\n      real     {shown(self.real)}"


def shown(value: Any) -> str:
    """A value as JSON on one line; the text `<missing>` where there is none."""
    return MISSING if value is MISSING else json.dumps(value, ensure_ascii=False)


def normalised(value: Any, names: Mapping[str, str], key: str = "") -> Any:
    """A value without uids, times, versions and hashes; `names` maps texts of this run (its namespace,
    generated names) to what stands for them."""
    if isinstance(value, dict):
        if "generateName" in value and isinstance(value.get("name"), str):
            value = {**value, "name": _SUFFIX.sub("-<generated>", value["name"])}
        return {filled_key(k, names): normalised(v, names, k) for k, v in value.items()}
    if isinstance(value, list):
        items = [normalised(item, names, key) for item in value if not _is_of_the_lab(item)]
        return sorted(_of_appliers(items), key=_owner) if key == "managedFields" else items
    if not isinstance(value, str):
        return value
    if key in PER_SERVER and value:
        return f"<{key}>"
    if key in HASHES:
        return "<hash>"
    if key == "cells" and _AGE.fullmatch(value):
        return "<age>"
    return text(value, names)


def _is_of_the_lab(item: Any) -> bool:
    """The group of the lab's own CRDs, which a cluster with the lab has."""
    return isinstance(item, dict) and "faultlab.dev" in (item.get("name"), _key_of(item, "metadata.name"))


def _of_appliers(entries: list[Any]) -> list[Any]:
    """managedFields without those of Kubernetes' controllers, which write when they come to it."""
    return [entry for entry in entries if entry.get("manager") != "kube-controller-manager"]


def _owner(entry: Any) -> tuple[str, ...]:
    """Entries are ordered by their times, to the second; here by who they are."""
    return tuple(str(entry.get(part, "")) for part in ("operation", "manager", "subresource", "apiVersion"))


def filled_key(key: str, names: Mapping[str, str]) -> str:
    """A field's name without what is of this run: managedFields have uids and names in theirs."""
    return text(key, names)


def is_a_name(value: Any) -> bool:
    """Whether a saved value is something that texts may mention: no number, time or uid, of which two may be
    equal by chance or are overlooked anyway."""
    return isinstance(value, str) and not (value.isdigit() or _TIME.fullmatch(value) or _UID.fullmatch(value))


def text(value: str, names: Mapping[str, str]) -> str:
    for found, stands_for in names.items():
        value = value.replace(found, stands_for)
    value = _UID.sub("<uid>", value)
    value = _VERSIONS.sub(lambda found: found.group(1) + "<version>", value)
    value = _VOLUME.sub("kube-api-access-<generated>", value)
    value = _PATCHED.sub(r"\1<the patched object>\2", value)
    value = _PEM.sub("<certificate>", value)
    return _TIME.sub(_recent, value)


def _recent(found: re.Match[str]) -> str:
    """Times of today are the servers' own; others were sent and have to come back."""
    written = datetime.fromisoformat(found.group().replace("Z", "+00:00"))
    if abs((datetime.now(UTC) - written).total_seconds()) > 86_400:
        return found.group()
    return "<microtime>" if found.group(1) else "<time>"


def differences(embedded: Any, real: Any, path: str = "body") -> list[Difference]:
    """Every place where two normalised values differ."""
    if isinstance(embedded, dict) and isinstance(real, dict):
        found = []
        for key in sorted(embedded.keys() | real.keys()):
            found += differences(embedded.get(key, MISSING), real.get(key, MISSING), f"{path}.{key}")
        return found
    if isinstance(embedded, list) and isinstance(real, list):
        return _of_lists(embedded, real, path)
    # 1 and 1.0 and true are equal to Python and not to JSON.
    same = embedded == real and type(embedded) is type(real)
    return [] if same else [Difference(path, embedded, real)]


def _of_lists(embedded: list[Any], real: list[Any], path: str) -> list[Difference]:
    key = next((key for key in LIST_KEYS if _identified(embedded, key) and _identified(real, key)), None)
    if key is None:
        if len(embedded) != len(real):
            return [Difference(path, embedded, real)]
        pairs = enumerate(zip(embedded, real, strict=True))
        return [item for i, (mine, its) in pairs for item in differences(mine, its, f"{path}[{i}]")]
    mine = {_key_of(item, key): item for item in embedded}
    its = {_key_of(item, key): item for item in real}
    found = []
    for name in dict.fromkeys([*mine, *its]):
        found += differences(mine.get(name, MISSING), its.get(name, MISSING), f"{path}[{name}]")
    order, other = [name for name in mine if name in its], [name for name in its if name in mine]
    if order != other:
        found.append(Difference(f"{path}.(order)", order, other))
    return found


def _identified(items: list[Any], key: str) -> bool:
    if any(isinstance(item, dict) and "object" in item for item in items):
        return False  # a watch's events and a table's rows come one after the other
    values = [_key_of(item, key) for item in items]
    return all(isinstance(value, str) for value in values) and len(set(values)) == len(values)


def _key_of(item: Any, key: str) -> Any:
    for part in key.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item
