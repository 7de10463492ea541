"""`faultlab get` and `delete` against a server that answers from a table."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from rich.console import Console

from faultlab_cli import objects
from faultlab_cli.kube import Kube

RESOURCES = {"resources": [{"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": True}]}
TABLE = {
    "columnDefinitions": [{"name": "Name"}, {"name": "Node", "priority": 1}],
    "rows": [{"cells": ["web-0", "n1"], "object": {"metadata": {"name": "web-0", "namespace": "shop"}}}],
}
POD = "/api/v1/namespaces/shop/pods/web-0"


class Server:
    """One pod whose successor stands there as soon as it is deleted."""

    def __init__(self) -> None:
        self.asked: list[httpx.URL] = []
        self.uid = "first"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        path = request.url.path
        answers: dict[str, Any] = {"/api/v1": RESOURCES, "/apis": {"groups": []}}
        if path in answers:
            return httpx.Response(200, json=answers[path])
        if path != POD:
            return httpx.Response(200, json=TABLE)
        pod = {"kind": "Pod", "metadata": {"name": "web-0", "uid": self.uid}}
        if request.method == "DELETE":
            self.uid = "second"
        return httpx.Response(200, json=pod)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def kube(server: Server) -> Kube:
    return Kube(httpx.Client(transport=httpx.MockTransport(server), base_url="https://api"), "shop")


def printed(run: Any) -> str:
    out = io.StringIO()
    run(Console(file=out, width=80))
    return out.getvalue()


def test_objects_of_all_namespaces_are_shown_with_theirs(kube: Kube) -> None:
    text = printed(lambda c: objects.get(kube, c, "pods", None, namespace=None, output="table"))
    assert [line.split() for line in text.splitlines()] == [["NAMESPACE", "NAME"], ["shop", "web-0"]]
    text = printed(lambda c: objects.get(kube, c, "pods", None, namespace="shop", output="wide"))
    assert [line.split() for line in text.splitlines()] == [["NAME", "NODE"], ["web-0", "n1"]]


def test_a_label_selector_goes_to_the_server(kube: Kube, server: Server) -> None:
    printed(
        lambda c: objects.get(kube, c, "pods", None, namespace="shop", output="table", selector="app=web")
    )
    assert server.asked[-1].params["labelSelector"] == "app=web"


def test_a_successor_under_the_same_name_does_not_keep_the_deletion_waiting(kube: Kube) -> None:
    text = printed(lambda c: objects.delete(kube, c, "pod", "web-0", namespace="shop", wait_s=60))
    assert text == "pods/web-0 deleted\n"
