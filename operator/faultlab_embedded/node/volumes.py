"""A pod's volumes: directories of the node that containers get bound into their roots.

`emptyDir` and the generated ones live below HOME/pods/UID and go with the pod, claims below HOME/claims and
go with the claim. `fsGroup` is not applied: in a user namespace there is one user. Sizes are not enforced.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultlab_embedded.node.environment import ConfigError, Lookup, expand
from faultlab_embedded.node.payload import (
    DEFAULT_MODE,
    Payload,
    config_payload,
    downward_payload,
    projected_payload,
    write_payload,
)
from faultlab_embedded.node.rootfs import Bind

Object = Mapping[str, Any]
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_VOLUME = "kube-api-access"


@dataclass(frozen=True, slots=True)
class Access:
    """What a pod's files say about the API server."""

    token: Callable[[str, str], str]
    """(namespace, service account) -> bearer token."""
    ca_pem: bytes


class PodVolumes:
    """The volumes of one pod.

    `prepare` may be called again; so may `refresh`, which follows changed sources.
    """

    def __init__(
        self,
        home: Path,
        memory: Path,
        pod: Object,
        lookup: Lookup,
        claim_path: Callable[[str], Path],
        access: Access,
    ) -> None:
        uid: str = pod["metadata"]["uid"]
        self._directory = home / "pods" / uid
        self._memory = memory / uid
        self._lookup = lookup
        self._claim_path = claim_path
        self._access = access
        self._sources: dict[str, Path] = {}
        self._files: set[str] = set()

    def prepare(self, pod: Object) -> None:
        """Makes every volume ready. Raises ConfigError with the first thing that is missing."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for volume in pod["spec"].get("volumes") or ():
            self._sources[volume["name"]] = self._prepare(pod, volume)
        if self._wants_token(pod):
            self._sources[_TOKEN_VOLUME] = self._write(_TOKEN_VOLUME, self._token_files(pod))

    def refresh(self, pod: Object) -> None:
        """Rewrites generated files whose sources changed. A source that vanished leaves its last content."""
        for volume in pod["spec"].get("volumes") or ():
            if any(kind in volume for kind in ("configMap", "secret", "projected", "downwardAPI")):
                try:
                    self._prepare(pod, volume)
                except ConfigError:
                    continue

    def refers_to(self, pod: Object, resource: str, name: str) -> bool:
        """Whether a volume shows the ConfigMap or Secret."""
        key, name_key = ("configMap", "name") if resource == "configmaps" else ("secret", "secretName")
        for volume in pod["spec"].get("volumes") or ():
            if (volume.get(key) or {}).get(name_key) == name:
                return True
            for part in (volume.get("projected") or {}).get("sources") or ():
                if (part.get(key) or {}).get("name") == name:
                    return True
        return False

    def binds(self, pod: Object, container: Object, env: Mapping[str, str]) -> list[Bind]:
        """The container's mounts. Raises ConfigError for a volume or subPath that is not there."""
        mounts = list(container.get("volumeMounts") or ())
        if self._wants_token(pod) and not any(m["mountPath"].rstrip("/") == TOKEN_PATH for m in mounts):
            mounts.append({"name": _TOKEN_VOLUME, "mountPath": TOKEN_PATH, "readOnly": True})
        return [self._bind(pod, mount, env) for mount in mounts]

    def remove(self) -> None:
        """Deletes what belongs to the pod alone."""
        for directory in (self._directory, self._memory):
            shutil.rmtree(directory, ignore_errors=True)

    def file(self, name: str, text: str) -> Path:
        """A file of the pod's own (its hosts file) outside all volumes."""
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _bind(self, pod: Object, mount: Object, env: Mapping[str, str]) -> Bind:
        name = mount["name"]
        source = self._sources.get(name)
        if source is None:
            known = ", ".join(sorted(self._sources)) or "none"
            raise ConfigError(f"volumeMount {name!r}: the pod has no such volume; it has: {known}")
        sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
        if sub_path:
            source = self._sub_path(source, sub_path, name in self._files)
        read_only = bool(mount.get("readOnly")) or name in self._files or name == _TOKEN_VOLUME
        read_only = read_only or self._claim_is_read_only(pod, name)
        return Bind(str(source), mount["mountPath"], os.path.isdir(source), read_only)

    @staticmethod
    def _claim_is_read_only(pod: Object, name: str) -> bool:
        volumes = {v["name"]: v for v in pod["spec"].get("volumes") or ()}
        return bool((volumes.get(name, {}).get("persistentVolumeClaim") or {}).get("readOnly"))

    @staticmethod
    def _sub_path(source: Path, sub_path: str, generated: bool) -> Path:
        if sub_path.startswith("/") or ".." in Path(sub_path).parts:
            raise ConfigError(f"subPath {sub_path!r} must be relative and must not contain '..'")
        path = Path(os.path.realpath(source / sub_path))
        if not generated and not path.is_relative_to(os.path.realpath(source)):
            raise ConfigError(f"subPath {sub_path!r} leads out of its volume")
        if not path.exists():
            if generated:
                raise ConfigError(f"subPath {sub_path!r}: the volume has no such file")
            path.mkdir(parents=True)
        return path

    def _prepare(self, pod: Object, volume: Object) -> Path:
        name: str = volume["name"]
        if "hostPath" in volume:
            return _host_path(volume["hostPath"])
        if "persistentVolumeClaim" in volume:
            return self._claim_path(volume["persistentVolumeClaim"]["claimName"])
        files = self._payload(pod, volume)
        if files is not None:
            self._files.add(name)
            return self._write(name, files)
        if "emptyDir" not in volume and len(volume) > 1:
            kind = next(key for key in volume if key != "name")
            raise ConfigError(f"volume {name!r}: the embedded world has no {kind} volumes")
        in_memory = (volume.get("emptyDir") or {}).get("medium") == "Memory"
        path = (self._memory if in_memory else self._directory / "volumes") / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        return path

    def _payload(self, pod: Object, volume: Object) -> Payload | None:
        if source := volume.get("configMap"):
            return config_payload("configmaps", source, source["name"], DEFAULT_MODE, self._lookup)
        if source := volume.get("secret"):
            return config_payload("secrets", source, source["secretName"], DEFAULT_MODE, self._lookup)
        if source := volume.get("downwardAPI"):
            mode = source.get("defaultMode") or DEFAULT_MODE
            return downward_payload(pod, source.get("items") or (), mode)
        if source := volume.get("projected"):
            return projected_payload(pod, source, self._lookup, lambda: self._token(pod))
        return None

    def _write(self, name: str, files: Payload) -> Path:
        directory = self._directory / "files" / name
        write_payload(directory, files)
        return directory

    def _token(self, pod: Object) -> str:
        account = pod["spec"].get("serviceAccountName") or "default"
        return self._access.token(pod["metadata"]["namespace"], account)

    def _token_files(self, pod: Object) -> Payload:
        return {
            "token": (self._token(pod).encode(), DEFAULT_MODE),
            "ca.crt": (self._access.ca_pem, DEFAULT_MODE),
            "namespace": (pod["metadata"]["namespace"].encode(), DEFAULT_MODE),
        }

    def _wants_token(self, pod: Object) -> bool:
        """As Kubernetes: the pod decides, else its ServiceAccount, else yes.

        One given explicitly counts as well.
        """
        for container in (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())):
            mounts = container.get("volumeMounts") or ()
            if any(m["mountPath"].rstrip("/") == TOKEN_PATH for m in mounts):
                return False
        wanted = pod["spec"].get("automountServiceAccountToken")
        if wanted is None:
            account = self._lookup("serviceaccounts", pod["spec"].get("serviceAccountName") or "default")
            wanted = (account or {}).get("automountServiceAccountToken")
        return wanted is not False


def _host_path(source: Object) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch()
    if not path.exists():
        raise ConfigError(
            f"hostPath {str(path)!r} does not exist on this machine; create it or use DirectoryOrCreate"
        )
    if kind == "Directory" and not path.is_dir():
        raise ConfigError(f"hostPath {str(path)!r} is not a directory")
    return path
