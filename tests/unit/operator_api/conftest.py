"""API servers to try the CRDs on: the embedded registry, and Kubernetes' own where its program is."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import pytest
from real_api import RealApi, find_programs

from faultlab_operator.api import API_VERSION, KINDS
from faultlab_operator.api.generate import load_crds
from faultlab_operator.kube.resources import RESOURCES


class Answer(NamedTuple):
    accepted: bool
    message: str
    obj: dict[str, Any]


class ApiUnderTest(Protocol):
    def create(self, obj: dict[str, Any]) -> Answer: ...
    def update(self, obj: dict[str, Any], subresource: str = "") -> Answer: ...
    def delete(self, kind: str, name: str) -> None: ...
    def take(self, obj: dict[str, Any]) -> Answer:
        """Creates an object of one of Kubernetes' own kinds."""


class EmbeddedApi:
    """The embedded world's registry, without its HTTP."""

    def __init__(self) -> None:
        registry_module = pytest.importorskip("faultlab_embedded.store.open")
        self._errors = pytest.importorskip("faultlab_embedded.store.errors")
        self._registry = registry_module.open_registry(None)
        for crd in load_crds():
            self._registry.create("customresourcedefinitions.apiextensions.k8s.io", crd)

    def _resource(self, kind: str) -> str:
        return f"{KINDS[kind].plural}.faultlab.dev"

    def create(self, obj: dict[str, Any]) -> Answer:
        try:
            return Answer(True, "", self._registry.create(self._resource(obj["kind"]), obj))
        except self._errors.ApiError as error:
            return Answer(False, json.dumps(error.status()), {})

    def update(self, obj: dict[str, Any], subresource: str = "") -> Answer:
        try:
            made = self._registry.update(self._resource(obj["kind"]), obj, subresource=subresource or None)
            return Answer(True, "", made)
        except self._errors.ApiError as error:
            return Answer(False, json.dumps(error.status()), {})

    def delete(self, kind: str, name: str) -> None:
        self._registry.delete(self._resource(kind), "default", name)

    def take(self, obj: dict[str, Any]) -> Answer:
        group = obj["apiVersion"].rpartition("/")[0]
        resource = f"{RESOURCES[obj['kind']].plural}.{group}".rstrip(".")
        try:
            return Answer(True, "", self._registry.create(resource, obj))
        except self._errors.ApiError as error:
            return Answer(False, json.dumps(error.status()), {})


class CrdsOnRealApi(RealApi):
    """A kube-apiserver of this machine, with the CRDs."""

    def prepare(self) -> None:
        self.await_server()
        for crd in load_crds():
            self.install(crd)

    def _path(self, kind: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/default/{KINDS[kind].plural}"

    def create(self, obj: dict[str, Any]) -> Answer:
        status, answer = self.request("POST", self._path(obj["kind"]), obj)
        return Answer(status == 201, json.dumps(answer), answer)

    def update(self, obj: dict[str, Any], subresource: str = "") -> Answer:
        path = f"{self._path(obj['kind'])}/{obj['metadata']['name']}"
        status, answer = self.request("PUT", f"{path}/{subresource}".rstrip("/"), obj)
        return Answer(status == 200, json.dumps(answer), answer)

    def delete(self, kind: str, name: str) -> None:
        status, answer = self.request("DELETE", f"{self._path(kind)}/{name}")
        assert status == 200, answer

    def take(self, obj: dict[str, Any]) -> Answer:
        path = RESOURCES[obj["kind"]].path(obj["metadata"]["namespace"])
        status, answer = self.request("POST", path + "?fieldValidation=Strict", obj)
        return Answer(status == 201, json.dumps(answer), answer)


@pytest.fixture(scope="session", params=["embedded", "kube-apiserver"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    if request.param == "embedded":
        yield EmbeddedApi()
        return
    programs = find_programs()
    if programs is None:
        pytest.skip("no kube-apiserver and etcd: set KUBE_APISERVER and ETCD, or put them on the PATH")
    server = CrdsOnRealApi(tmp_path_factory.mktemp("apiserver"), programs)
    try:
        server.prepare()
        yield server
    finally:
        server.stop()
