"""The small client: discovery by any name, refusals as sentences, apply that tells what it did."""

import json
from typing import Any

import httpx
import pytest

from faultlab_cli.errors import CliError
from faultlab_cli.kube import ApiError, Kube, pod_proxy

DISCOVERY: dict[str, Any] = {
    "/api/v1": {"resources": [{"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": True}]},
    "/apis": {"groups": [{"name": "faultlab.dev", "preferredVersion": {"version": "v1alpha1"}}]},
    "/apis/faultlab.dev/v1alpha1": {
        "resources": [
            {
                "name": "raftclusters",
                "singularName": "raftcluster",
                "kind": "RaftCluster",
                "namespaced": True,
                "shortNames": ["raft", "rafts"],
            },
            {"name": "raftclusters/status", "singularName": "", "kind": "RaftCluster", "namespaced": True},
        ]
    },
}


class Server:
    """Answers discovery, and one object with optimistic versions."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path in DISCOVERY:
            return httpx.Response(200, json=DISCOVERY[path])
        if request.method == "PATCH":
            wanted = json.loads(request.content)
            if self.stored is None or self.stored["spec"] != wanted["spec"]:
                self.version += 1
            self.stored = {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": str(self.version)}}
            return httpx.Response(200, json=self.stored)
        if request.method == "GET" and self.stored is not None:
            return httpx.Response(200, json=self.stored)
        return httpx.Response(
            404, json={"kind": "Status", "message": f"{path} not found", "reason": "NotFound"}
        )


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def kube(server: Server) -> Kube:
    return Kube(httpx.Client(transport=httpx.MockTransport(server), base_url="https://test"), "default")


@pytest.mark.parametrize(
    "name", ["raft", "rafts", "RaftCluster", "raftclusters", "raftclusters.faultlab.dev"]
)
def test_a_kind_is_found_by_every_name_it_has(kube: Kube, name: str) -> None:
    assert (
        kube.resource(name).path("ns", "demo")
        == "/apis/faultlab.dev/v1alpha1/namespaces/ns/raftclusters/demo"
    )


def test_an_unknown_kind_is_answered_with_those_that_exist(kube: Kube) -> None:
    with pytest.raises(CliError, match="pods, raftclusters"):
        kube.resource("zebras")


def test_apply_tells_created_from_configured_from_unchanged(kube: Kube) -> None:
    manifest = {
        "apiVersion": "faultlab.dev/v1alpha1",
        "kind": "RaftCluster",
        "metadata": {"name": "demo"},
        "spec": {"replicas": 3},
    }
    outcomes = [kube.apply(manifest)[1], kube.apply(manifest)[1]]
    outcomes.append(kube.apply({**manifest, "spec": {"replicas": 5}})[1])
    assert outcomes == ["created", "unchanged", "configured"]


def test_a_manifest_of_an_unknown_kind_names_the_missing_crds(kube: Kube) -> None:
    with pytest.raises(CliError, match="CRDs"):
        kube.apply({"apiVersion": "faultlab.dev/v9", "kind": "Nope", "metadata": {"name": "x"}})


def test_a_refusal_carries_the_servers_own_message(kube: Kube) -> None:
    with pytest.raises(ApiError, match="not found") as refused:
        kube.get("/api/v1/namespaces/default/pods/none")
    assert (refused.value.http_status, refused.value.reason) == (404, "NotFound")


def test_a_server_that_is_not_there_is_a_sentence_not_a_traceback() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    client = httpx.Client(transport=httpx.MockTransport(refuse), base_url="https://test")
    with pytest.raises(CliError, match="does not answer"):
        Kube(client, "default").get("/api/v1")


def test_a_pods_port_is_reached_through_the_api_server() -> None:
    assert pod_proxy("ns", "demo-load", 8089, "/x") == "/api/v1/namespaces/ns/pods/demo-load:8089/proxy/x"
