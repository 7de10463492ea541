"""The files of ConfigMap, Secret, downward API and projected volumes, and how they are put on disk.

Written as kubelet does: files live in a directory of their own, `..data` points to it, and each visible
name is a link through `..data`, so that a change of many files is seen at once and an open file stays
whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from faultlab_embedded.node.environment import (
    ConfigError,
    Lookup,
    field_value,
    object_data,
    resource_value,
)

Object = Mapping[str, Any]
Payload = dict[str, tuple[bytes, int]]
"""Path inside the volume -> content and mode."""

DEFAULT_MODE = 0o644


def config_payload(resource: str, source: Object, name: str, mode: int, lookup: Lookup) -> Payload:
    """Files of a `configMap` or `secret` volume or projection.

    Raises ConfigError where it, or a key, is missing.
    """
    found = lookup(resource, name)
    if found is None:
        if source.get("optional"):
            return {}
        raise ConfigError(f'{resource[:-1]} "{name}" not found')
    data = object_data(resource, found)
    mode = source.get("defaultMode") or mode
    items = source.get("items")
    if not items:
        return {key: (value, mode) for key, value in data.items()}
    chosen: Payload = {}
    for item in items:
        if item["key"] in data:
            chosen[_inside(item["path"])] = (data[item["key"]], item.get("mode") or mode)
        elif not source.get("optional"):
            raise ConfigError(f"{resource[:-1]} {name!r} has no key {item['key']!r}")
    return chosen


def downward_payload(pod: Object, items: Iterable[Object], mode: int) -> Payload:
    """Files of a `downwardAPI` volume or projection."""
    files: Payload = {}
    for item in items:
        if reference := item.get("fieldRef"):
            text = field_value(pod, reference["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            containers = {c["name"]: c for c in pod["spec"]["containers"]}
            text = resource_value(containers.get(reference.get("containerName"), {}), reference)
        files[_inside(item["path"])] = (text.encode(), item.get("mode") or mode)
    return files


def projected_payload(pod: Object, source: Object, lookup: Lookup, token: Callable[[], str]) -> Payload:
    """Files of a `projected` volume: its sources one after the other."""
    mode = source.get("defaultMode") or DEFAULT_MODE
    files: Payload = {}
    for part in source.get("sources") or ():
        if "serviceAccountToken" in part:
            path = part["serviceAccountToken"].get("path", "token")
            files[_inside(path)] = (token().encode(), mode)
        elif "configMap" in part:
            files |= config_payload("configmaps", part["configMap"], part["configMap"]["name"], mode, lookup)
        elif "secret" in part:
            files |= config_payload("secrets", part["secret"], part["secret"]["name"], mode, lookup)
        elif "downwardAPI" in part:
            files |= downward_payload(pod, part["downwardAPI"].get("items") or (), mode)
        else:
            raise ConfigError(f"projected source {', '.join(part)} is not one the embedded world knows")
    return files


def _inside(path: str) -> str:
    parts = Path(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ConfigError(f"path {path!r} of a volume item must be relative and must not contain '..'")
    return "/".join(parts)


def write_payload(directory: Path, files: Payload) -> bool:
    """Makes the directory show exactly `files`; returns whether anything had to change."""
    if _current(directory) == files:
        return False
    directory.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name[2:]) for p in directory.glob("..[0-9]*")), default=0)
    version = directory / f"..{number}"
    version.mkdir()
    for path, (content, mode) in files.items():
        file = version / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
    _point(directory / "..data", version.name)
    tops = {path.split("/")[0] for path in files}
    for top in tops:
        if not (directory / top).is_symlink():
            (directory / top).symlink_to(f"..data/{top}")
    for entry in directory.iterdir():
        if entry.name.startswith(".."):
            if entry.name not in ("..data", version.name):
                shutil.rmtree(entry)
        elif entry.name not in tops:
            entry.unlink()
    return True


def _point(link: Path, target: str) -> None:
    fresh = link.with_name("..data_tmp")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.replace(fresh, link)


def _current(directory: Path) -> Payload | None:
    root = directory / "..data"
    if not root.is_dir():
        return None
    return {
        str(file.relative_to(root)): (file.read_bytes(), file.stat().st_mode & 0o7777)
        for file in root.rglob("*")
        if file.is_file()
    }
