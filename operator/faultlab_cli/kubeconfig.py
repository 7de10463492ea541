"""Which cluster a kubeconfig means and with which credentials: read as kubectl reads it.

lightkube makes the HTTP client of one context (client certificates, tokens, token files, exec
plugins, passwords). What it leaves out is here: KUBECONFIG with several files, paths that are
relative to their file, exec plugins of API version v1, `proxy-url`, and errors that say what to do.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import NameValue, User
from lightkube.core.exceptions import ConfigError

from faultlab_cli.errors import CliError

Document = dict[str, Any]
DEFAULT_FILE = Path("~/.kube/config")
TIMEOUT = httpx.Timeout(10.0, connect=5.0)
LOOPBACK = ("127.0.0.1", "localhost", "::1")
INSTALL = (
    "`make kind-up` makes a cluster with the lab in it, or install the lab into this one: "
    "`helm install faultlab charts/faultlab -n faultlab-system --create-namespace`"
)
_EXEC_V1 = "client.authentication.k8s.io/v1"
_EXEC_KNOWN = "client.authentication.k8s.io/v1beta1"
"""The newest that lightkube takes; the answer with a token reads the same in v1."""
_PATHS: dict[str, tuple[str, ...]] = {
    "cluster": ("certificate-authority",),
    "user": ("client-certificate", "client-key", "tokenFile"),
    "context": (),
}


class Configured:
    """The contexts of the kubeconfig files that are in force. Raises CliError where there are none."""

    def __init__(self, file: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._source, self._document = _read(file, environ)
        try:
            self._contexts = KubeConfig.from_dict(self._document)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise CliError(f"{self._source} is not a kubeconfig: {error!r} is missing or wrong") from error

    def context(self, name: str | None) -> SingleConfig:
        """The context of this name (default: the current one); CliError names those there are."""
        wanted = name or self._contexts.current_context
        known = ", ".join(sorted(self._contexts.contexts)) or "none"
        if not wanted:
            raise CliError(
                f"{self._source} has no current context: choose one with --context or "
                f"`kubectl config use-context NAME`; it has {known}"
            )
        if wanted not in self._contexts.contexts:
            raise CliError(f"{self._source} has no context {wanted!r}; it has {known}")
        try:
            chosen = self._contexts.get(wanted)
        except KeyError as error:
            raise CliError(
                f"{self._source}: context {wanted} names {error}, which is not there; "
                "mend it with `kubectl config set-context`"
            ) from error
        assert chosen is not None, "a named context is found or refused"
        return chosen if chosen.user else chosen._replace(user=User())

    def client(self, chosen: SingleConfig) -> httpx.Client:
        """An HTTP client for the context's cluster; raises CliError for credentials that cannot be used."""
        assert chosen.user is not None, "context() puts a user there"
        local = urlsplit(chosen.cluster.server).hostname in LOOPBACK
        parameters = ConnectionParams(timeout=TIMEOUT, trust_env=not local, proxy=self._proxy(chosen))
        try:
            return Client(chosen._replace(user=_with_plugin(chosen.user)), parameters)
        except (ConfigError, OSError, ValueError) as error:
            raise CliError(
                f"the credentials of context {chosen.context_name} cannot be used: {error}"
            ) from error

    def _proxy(self, chosen: SingleConfig) -> str | None:
        for entry in self._document["clusters"]:
            if entry["name"] == chosen.context.cluster:
                return entry["cluster"].get("proxy-url") or None
        return None


def _read(file: Path | None, environ: Mapping[str, str]) -> tuple[str, Document]:
    """Where the configuration is from, in words, and all files as one."""
    listed = [Path(name) for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    files = [file] if file else listed or [DEFAULT_FILE.expanduser()]
    there = [each for each in files if each.expanduser().is_file()]
    if not there:
        names = ", ".join(str(each) for each in files)
        raise CliError(f"there is no kubeconfig at {names}; `make kind-up` makes a cluster and its context")
    merged: Document = {"clusters": [], "users": [], "contexts": [], "current-context": ""}
    for each in there:
        document = _document(each.expanduser())
        try:
            for plural in ("clusters", "users", "contexts"):
                merged[plural] += _new(merged[plural], document.get(plural) or [], each)
        except (TypeError, AttributeError) as error:
            raise CliError(f"{each} is not a kubeconfig: {error}") from error
        merged["current-context"] = merged["current-context"] or document.get("current-context") or ""
    return ", ".join(str(each) for each in there), merged


def _document(file: Path) -> Document:
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CliError(f"kubeconfig {file} cannot be read: {error}") from error
    if document is not None and not isinstance(document, dict):
        raise CliError(f"kubeconfig {file} is not a kubeconfig: it holds a {type(document).__name__}")
    return document or {}


def _new(known: list[Document], entries: list[Document], file: Path) -> list[Document]:
    """The entries whose names are not known yet (the first file wins), with absolute paths."""
    taken = {entry["name"] for entry in known}
    folder = file.expanduser().absolute().parent
    fresh = [entry for entry in entries if isinstance(entry, dict) and entry.get("name") not in taken]
    for entry in fresh:
        for kind, fields in _PATHS.items():
            inner = entry.get(kind) or {}
            for field in fields:
                if inner.get(field):
                    inner[field] = str(folder / inner[field])
        plugin = (entry.get("user") or {}).get("exec") or {}
        if "/" in plugin.get("command", ""):
            plugin["command"] = str(folder / plugin["command"])
    return fresh


def _with_plugin(user: User) -> User:
    """The user, with an exec plugin of version v1 put so that lightkube runs it and it answers in v1."""
    if user.exec is None or user.exec.apiVersion != _EXEC_V1:
        return user
    asked = {"apiVersion": _EXEC_V1, "kind": "ExecCredential", "spec": {"interactive": False}}
    told = NameValue(name="KUBERNETES_EXEC_INFO", value=json.dumps(asked))
    plugin = replace(user.exec, apiVersion=_EXEC_KNOWN, env=[*(user.exec.env or []), told])
    return replace(user, exec=plugin)
