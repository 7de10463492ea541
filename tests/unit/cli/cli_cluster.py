"""An API server that answers from a table."""

from collections.abc import Callable
from typing import Any

import httpx

from faultlab_cli.kube import Kube

Answer = httpx.Response | dict[str, Any] | Exception | Callable[[httpx.Request], Any]
SYSTEM_PODS = "/api/v1/namespaces/faultlab-system/pods"


class Cluster:
    """Answers by path: a document, a response, an exception, or what a function makes of the request; a list
    of them is used up one by one, the last for ever. What is not in the table is not found."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.get(request.url.path)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer) and not isinstance(answer, (httpx.Response, Exception)):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if answer is None:
            return refusal(404, "NotFound", f"{request.url.path} not found")
        return httpx.Response(200, json=answer)

    def kube(self) -> Kube:
        client = httpx.Client(transport=httpx.MockTransport(self), base_url="https://api")
        return Kube(client, "faultlab", "context test")

    def has_pods(self, *pods: dict[str, Any]) -> None:
        """The operator's pods in faultlab-system."""
        self.answers[SYSTEM_PODS] = {"items": list(pods)}


def refusal(code: int, reason: str, message: str) -> httpx.Response:
    return httpx.Response(code, json={"kind": "Status", "reason": reason, "message": message})


def operator(
    name: str = "op-1", *, ready: bool = True, phase: str = "Running", **status: Any
) -> dict[str, Any]:
    """A pod of the operator."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": name, "namespace": "faultlab-system"},
        "spec": {"containers": [{"name": "operator"}]},
        "status": {"phase": phase, "conditions": conditions, **status},
    }


def proxied(path: str, pod: str = "op-1") -> str:
    return f"{SYSTEM_PODS}/{pod}:8080/proxy/{path}"
