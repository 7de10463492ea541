"""Which cluster is meant, and with which credentials: contradictions and gaps are told with what there is."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from faultlab_cli import lab, where
from faultlab_cli.errors import CliError
from faultlab_cli.kube import Kube, connect
from faultlab_cli.kubeconfig import Configured
from faultlab_cli.options import World

PLUGIN = """#!/bin/sh
echo "$KUBERNETES_EXEC_INFO" > "$0.asked"
echo '{"kind": "ExecCredential", "status": {"token": "secret"}}'
"""


def write(file: Path, *contexts: str, current: str = "", user: dict[str, Any] | None = None) -> Path:
    """A kubeconfig with a cluster and a user for each context."""
    document = {
        "clusters": [{"name": c, "cluster": {"server": f"https://{c}"}} for c in contexts],
        "users": [{"name": c, "user": user or {}} for c in contexts],
        "contexts": [{"name": c, "context": {"cluster": c, "user": c}} for c in contexts],
        "current-context": current,
    }
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.mark.parametrize(
    ("world", "kubeconfig", "context", "meant"),
    [
        (None, None, None, World.embedded),
        (World.embedded, None, None, World.embedded),
        (World.kubernetes, None, None, World.kubernetes),
        (None, Path("f"), None, World.kubernetes),
        (None, None, "c", World.kubernetes),
        (World.kubernetes, Path("f"), "c", World.kubernetes),
    ],
)
def test_a_named_cluster_is_meant_and_else_the_embedded_world(
    world: World | None, kubeconfig: Path | None, context: str | None, meant: World
) -> None:
    assert where.chosen(world, kubeconfig, context) is meant


def test_two_worlds_at_once_are_refused() -> None:
    with pytest.raises(CliError, match="--world embedded and --kubeconfig and --context"):
        where.chosen(World.embedded, Path("f"), "c")


def test_a_command_that_finds_no_embedded_world_says_how_to_mean_the_cluster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lab, "running", lambda: None)
    with pytest.raises(CliError, match=r"faultlab up.*--world kubernetes") as refused:
        where.existing(None, None, None)
    assert refused.value.code == 1


def test_an_unknown_context_is_answered_with_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "config", "kind-faultlab", "prod", current="prod")
    with pytest.raises(CliError, match="no context 'kind'; it has kind-faultlab, prod"):
        connect(file, "kind")


def test_without_a_current_context_one_has_to_be_chosen(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"no current context: choose one with --context .* it has prod"):
        connect(write(tmp_path / "config", "prod"), None)


def test_no_kubeconfig_at_all_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CliError, match=r"no kubeconfig at .*/none; `make kind-up`"):
        connect(tmp_path / "none", None)


@pytest.mark.parametrize("text", ["- a", "clusters: 5", "clusters: [{name: x}]", "a: ["])
def test_a_file_that_is_no_kubeconfig_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(CliError, match=str(file)):
        connect(file, "x")


def test_several_files_are_one_and_the_first_wins(tmp_path: Path) -> None:
    first = write(tmp_path / "a", "one", current="one", user={"token": "first"})
    second = write(tmp_path / "b", "one", "two", current="two", user={"token": "second"})
    configured = Configured(environ={"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"})
    assert configured.context(None).context_name == "one"
    users = [configured.context(name).user for name in ("one", "two")]
    assert [user.token for user in users if user] == ["first", "second"]


def test_paths_in_a_kubeconfig_are_relative_to_it(tmp_path: Path) -> None:
    file = write(tmp_path / "config", "one", current="one", user={"tokenFile": "keys/token"})
    user = Configured(file).context(None).user
    assert user is not None
    assert user.token_file == str(tmp_path / "keys" / "token")


def test_the_contexts_namespace_is_the_default_and_else_faultlab(tmp_path: Path) -> None:
    file = write(tmp_path / "config", "one", current="one")
    assert connect(file, None).namespace == "faultlab"
    document = yaml.safe_load(file.read_text())
    document["contexts"][0]["context"]["namespace"] = "mine"
    file.write_text(yaml.safe_dump(document))
    assert connect(file, None).namespace == "mine"


def _plugin(tmp_path: Path, version: str, script: str) -> Kube:
    """A cluster whose credentials come from a program beside the kubeconfig."""
    (tmp_path / "plugin").write_text(script)
    (tmp_path / "plugin").chmod(0o755)
    user = {"exec": {"apiVersion": f"client.authentication.k8s.io/{version}", "command": "./plugin"}}
    configured = Configured(write(tmp_path / "config", "one", current="one", user=user))
    client = configured.client(configured.context(None))
    client._transport = httpx.MockTransport(
        lambda request: httpx.Response(200, json={"token": request.headers["Authorization"]})
    )
    client._mounts = {}
    return Kube(client, "ns", "context one")


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_an_exec_plugin_gives_the_token(tmp_path: Path, version: str) -> None:
    assert _plugin(tmp_path, version, PLUGIN).get("/x") == {"token": "Bearer secret"}
    asked = (tmp_path / "plugin.asked").read_text().strip()
    if version == "v1":
        assert json.loads(asked)["apiVersion"] == "client.authentication.k8s.io/v1"


@pytest.mark.parametrize(
    ("script", "told"),
    [("#!/bin/sh\necho log in first >&2\nexit 3", "log in first"), ("#!/bin/sh\necho {}", "no token")],
)
def test_an_exec_plugin_that_fails_is_a_sentence(tmp_path: Path, script: str, told: str) -> None:
    with pytest.raises(CliError, match=f"credentials plugin of context one failed: .*{told}"):
        _plugin(tmp_path, "v1", script).get("/x")
