"""The HTTP face: who gets in, what there is, how things fail; objects and their subresources."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

CONFIGS = "/api/v1/namespaces/default/configmaps"
POD = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


@pytest.fixture
def pod(api: Any) -> Any:
    return api.registry.create("pods", POD)


# Who gets in


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic YTpi", "Bearer ", "Bearer"])
async def test_without_a_valid_token_there_is_401(api: Any, header: str) -> None:
    status, answer = await api.call("GET", "/api/v1/pods", headers={"Authorization": header})
    assert (status, answer["reason"], answer["kind"]) == (401, "Unauthorized", "Status")


async def test_the_scheme_is_read_without_case(api: Any) -> None:
    token = api.http.headers["Authorization"].split()[1]
    assert (await api.call("GET", "/api/v1/pods", headers={"Authorization": f"bearer {token}"}))[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez", "/version"])
async def test_health_and_version_need_no_token(api: Any, path: str) -> None:
    assert (await api.call("GET", path, headers={"Authorization": ""}))[0] == 200


# Discovery


async def test_discovery_lists_resources_with_their_subresources(api: Any) -> None:
    assert (await api.ok("GET", "/api"))["versions"] == ["v1"]
    groups = {group["name"] for group in (await api.ok("GET", "/apis"))["groups"]}
    assert {"apps", "batch", "apiextensions.k8s.io", "coordination.k8s.io"} <= groups
    core = {entry["name"]: entry for entry in (await api.ok("GET", "/api/v1"))["resources"]}
    assert {"pods", "pods/status", "pods/log", "pods/proxy", "services/proxy", "events"} <= set(core)
    assert core["pods"]["shortNames"] == ["po"]
    apps = {entry["name"]: entry for entry in (await api.ok("GET", "/apis/apps/v1"))["resources"]}
    assert apps["statefulsets/scale"]["group"] == "autoscaling"
    assert (await api.call("GET", "/apis/nothing.dev"))[0] == 404


async def test_aggregated_discovery_says_in_one_document_what_the_others_say(api: Any) -> None:
    kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = (await api.ok("GET", "/apis", headers={"Accept": f"{kind},application/json"}))["items"]
    assert [item["metadata"]["name"] for item in groups] == [
        group["name"] for group in (await api.ok("GET", "/apis"))["groups"]
    ]
    for item in groups:
        for version in item["versions"]:
            path = f"/apis/{item['metadata']['name']}/{version['version']}"
            plain = {entry["name"]: entry["verbs"] for entry in (await api.ok("GET", path))["resources"]}
            nested = {entry["resource"]: entry["verbs"] for entry in version["resources"]} | {
                f"{entry['resource']}/{below['subresource']}": below["verbs"]
                for entry in version["resources"]
                for below in entry.get("subresources", [])
            }
            assert nested == plain


async def test_what_a_kind_is_stored_as_is_hashed_as_kubernetes_hashes_it(api: Any) -> None:
    # Seen at a kube-apiserver.
    core = {entry["name"]: entry for entry in (await api.ok("GET", "/api/v1"))["resources"]}
    assert core["configmaps"]["storageVersionHash"] == "qFsyl6wFWjQ="


async def test_who_asks_for_endpoints_is_told_of_slices(api: Any) -> None:
    async with api.http.get(f"{api.url}/api/v1/endpoints") as answer:
        assert "EndpointSlice" in answer.headers["Warning"]
    async with api.http.get(f"{api.url}/api/v1/pods") as answer:
        assert "Warning" not in answer.headers


async def test_openapi_names_each_kind_and_its_patch_takes_field_validation(api: Any) -> None:
    index = await api.ok("GET", "/openapi/v3")
    assert {"api/v1", "apis/apps/v1"} <= set(index["paths"])
    for path in index["paths"].values():
        document = await api.ok("GET", path["serverRelativeURL"])
        text = str(document)
        for name in {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}:
            assert name in document["components"]["schemas"], name
    document = await api.ok("GET", "/openapi/v3/apis/apps/v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "kind": "StatefulSet",
        "version": "v1",
    }
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    containers = document["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"


# How things fail


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v1/namespaces/default/pods/none", 404),
        ("GET", "/api/v1/namespaces/default/unicorns", 404),
        ("GET", "/apis/apps/v2/statefulsets", 404),
        ("GET", "/api/v1/pods/p", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/c/status", 404),
        ("PUT", CONFIGS, 405),
        ("POST", f"{CONFIGS}/c", 405),
        ("GET", "/api/v1/namespaces/default/pods/p/exec", 405),
    ],
)
async def test_what_is_not_there_is_a_status(api: Any, method: str, path: str, code: int) -> None:
    status, answer = await api.call(method, path)
    assert (status, answer["code"], answer["kind"]) == (code, code, "Status")
    assert answer["message"]


async def test_bodies_and_answers_in_other_formats_are_415_and_406(api: Any) -> None:
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    status, answer = await api.call("POST", CONFIGS, b"k8s\x00", headers=headers)
    assert (status, answer["reason"]) == (415, "UnsupportedMediaType")
    assert "kubectl apply -f" in answer["message"]
    status, answer = await api.call("GET", CONFIGS, headers={"Accept": headers["Content-Type"]})
    assert (status, answer["reason"]) == (406, "NotAcceptable")
    both = {"Accept": "application/vnd.kubernetes.protobuf,application/json"}
    assert (await api.call("GET", CONFIGS, headers=both))[0] == 200


@pytest.mark.parametrize("path", ["/nonsense", "/apis/nothing.example.dev/v1", "/apis/no.dev/v1/things"])
async def test_a_path_of_no_group_is_a_404_in_plain_text(api: Any, path: str) -> None:
    assert await api.call("GET", path) == (404, "404 page not found\n")


async def test_an_object_to_be_created_has_no_version(api: Any) -> None:
    body = {"metadata": {"name": "c", "resourceVersion": "5"}}
    status, answer = await api.call("POST", CONFIGS, body)
    assert (status, answer["message"]) == (500, "resourceVersion should not be set on objects to be created")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "json parse error: unexpected end of JSON input"),
        ("[]", "must be of type ConfigMap"),
        ('{"kind":"Secret","apiVersion":"v1"}', "cannot be handled as a ConfigMap"),
        ('{"metadata":{"name":"c","namespace":"other"}}', "does not match the namespace"),
        ('{"metadata":3}', "metadata"),
        ('{"metadata":{"name":3}}', "metadata.name"),
        ('{"metadata":{"name":"c","labels":"x"}}', "metadata.labels"),
    ],
)
async def test_a_body_that_makes_no_sense_is_400(api: Any, body: str, says: str) -> None:
    headers = {"Content-Type": "application/json"}
    status, answer = await api.call("POST", CONFIGS, body, headers=headers)
    assert (status, answer["reason"]) == (400, "BadRequest")
    assert says in answer["message"]


@pytest.mark.parametrize(
    "query",
    ["labelSelector=a%20b%20c", "fieldSelector=x", "limit=x", "continue=%21"],
)
async def test_parameters_that_make_no_sense_are_400(api: Any, query: str) -> None:
    status, answer = await api.call("GET", f"{CONFIGS}?{query}")
    assert (status, answer["reason"]) == (400, "BadRequest"), answer


@pytest.mark.parametrize(
    ("method", "query", "says"),
    [
        ("POST", "dryRun=Some", 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value'),
        ("POST", "fieldValidation=Some", 'supported values: "", "Ignore", "Strict", "Warn"'),
        ("DELETE", "dryRun=Some", "DeleteOptions.meta.k8s.io"),
    ],
)
async def test_options_that_make_no_sense_are_422(api: Any, method: str, query: str, says: str) -> None:
    status, answer = await api.call(method, f"{CONFIGS}?{query}", {"metadata": {"name": "c"}})
    assert (status, answer["reason"]) == (422, "Invalid"), answer
    assert says in answer["message"]


async def test_a_body_that_is_too_large_is_413(serve: Any) -> None:
    api = await serve(max_body_bytes=1000)
    status, answer = await api.call("POST", CONFIGS, {"metadata": {"name": "c"}, "data": {"a": "x" * 2000}})
    assert (status, answer["kind"]) == (413, "Status")


# Objects


async def test_create_replace_and_delete(api: Any) -> None:
    made = await api.ok("POST", CONFIGS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    replaced = await api.ok("PUT", f"{CONFIGS}/c", {**made, "data": {"b": "2"}})
    assert replaced["data"] == {"b": "2"}
    status, answer = await api.call("PUT", f"{CONFIGS}/c", {**made, "data": {}})
    assert (status, answer["reason"]) == (409, "Conflict")
    gone = await api.ok("DELETE", f"{CONFIGS}/c")
    assert (gone["kind"], gone["status"], gone["details"]["name"]) == ("Status", "Success", "c")
    assert (await api.call("GET", f"{CONFIGS}/c"))[0] == 404


async def test_delete_options_come_in_body_or_query(api: Any) -> None:
    for name in ("a", "b"):
        await api.ok("POST", CONFIGS, {"metadata": {"name": name}})
    foreground = await api.ok(
        "DELETE", f"{CONFIGS}/a", {"kind": "DeleteOptions", "propagationPolicy": "Foreground"}
    )
    assert foreground["metadata"]["finalizers"] == ["foregroundDeletion"]
    orphan = await api.ok("DELETE", f"{CONFIGS}/b?propagationPolicy=Orphan")
    assert orphan["metadata"]["finalizers"] == ["orphan"]


async def test_dry_run_leaves_no_trace(api: Any) -> None:
    status, answer = await api.call("POST", f"{CONFIGS}?dryRun=All", {"metadata": {"name": "c"}})
    assert (status, answer["metadata"]["name"]) == (201, "c")
    assert (await api.ok("GET", CONFIGS))["items"] == []
    await api.ok("POST", CONFIGS, {"metadata": {"name": "c"}})
    await api.ok("DELETE", f"{CONFIGS}/c?dryRun=All")
    await api.ok("DELETE", f"{CONFIGS}?dryRun=All")
    assert (await api.ok("GET", f"{CONFIGS}/c"))["metadata"]["name"] == "c"


async def test_a_collection_is_deleted_by_its_selector(api: Any) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        await api.ok("POST", CONFIGS, {"metadata": {"name": name, "labels": {"app": app}}})
    await api.ok("DELETE", f"{CONFIGS}?labelSelector=app%3Dx")
    assert [item["metadata"]["name"] for item in (await api.ok("GET", CONFIGS))["items"]] == ["b"]


async def test_unknown_fields_warn_in_a_header_or_fail_when_strict(api: Any) -> None:
    body = {"metadata": {"name": "c"}, "dta": {}}
    async with api.http.post(f"{api.url}{CONFIGS}", json=body) as answer:
        assert answer.headers["Warning"] == '299 - "unknown field \\"dta\\""'
    status, refused = await api.call("POST", f"{CONFIGS}?fieldValidation=Strict", body)
    assert status == 400
    assert 'unknown field "dta"' in refused["message"]
    async with api.http.post(f"{api.url}{CONFIGS}?fieldValidation=Ignore", json=body) as answer:
        assert "Warning" not in answer.headers


# Subresources


async def test_scale_reads_and_writes_replicas(api: Any) -> None:
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": POD["spec"]},
    }
    api.registry.create("deployments.apps", {"metadata": {"name": "d"}, "spec": spec})
    path = "/apis/apps/v1/namespaces/default/deployments/d/scale"
    scale = await api.ok("GET", path)
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"]["selector"] == "a=b"
    assert (await api.ok("PUT", path, {**scale, "spec": {"replicas": 4}}))["spec"] == {"replicas": 4}
    assert (await api.call("PUT", path, {**scale, "spec": {"replicas": 5}}))[0] == 409
    status, answer = await api.patch(path, {"spec": {"replicas": -1}})
    assert (status, answer["reason"]) == (422, "Invalid")


async def test_an_eviction_respects_the_budget(api: Any) -> None:
    for name in ("p", "q"):
        api.registry.create("pods", {**POD, "metadata": {"name": name, "labels": {"a": "b"}}})
        api.registry.patch("pods", "default", name, {"status": {"phase": "Running"}}, subresource="status")
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
    api.registry.create("poddisruptionbudgets.policy", budget)
    status = {"status": {"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1}}
    api.registry.patch("poddisruptionbudgets.policy", "default", "b", status, subresource="status")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await api.call("POST", "/api/v1/namespaces/default/pods/p/eviction", eviction))[0] == 201
    assert api.registry.find("pods", "default", "p") is None
    code, answer = await api.call("POST", "/api/v1/namespaces/default/pods/q/eviction", eviction)
    assert (code, answer["message"]) == (400, "name in URL does not match name in Eviction object")
    eviction["metadata"] = {"name": "q"}
    code, answer = await api.call("POST", "/api/v1/namespaces/default/pods/q/eviction", eviction)
    assert (code, answer["reason"]) == (429, "TooManyRequests")
    assert "disruption budget" in answer["message"]
    cause = answer["details"]["causes"][0]["message"]
    assert cause == "The disruption budget b needs 1 healthy pods and has 2 currently"


@pytest.mark.usefixtures("pod")
async def test_logs_follow_and_are_cut(api: Any) -> None:
    api.node.lines["p"] = [b"one\n", b"two\n"]
    path = "/api/v1/namespaces/default/pods/p/log"
    assert await api.ok("GET", path) == "one\ntwo\n"
    assert await api.ok("GET", f"{path}?tailLines=1&timestamps=true") == "2026-01-01T00:00:00Z two\n"
    assert await api.ok("GET", f"{path}?limitBytes=5") == "one\nt"
    status, answer = await api.call("GET", f"{path}?previous=true")
    assert (status, answer["reason"]) == (400, "BadRequest")
    status, answer = await api.call("GET", f"{path}?container=x")
    assert "container x is not valid for pod p" in answer["message"]
    async with api.http.get(f"{api.url}{path}?follow=true") as following:
        assert await following.content.readline() == b"one\n"
        assert await following.content.readline() == b"two\n"
        api.node.more.set()
        assert await following.content.read() == b"and more\n"


@pytest.mark.usefixtures("pod")
async def test_logs_begin_where_they_are_asked_to(api: Any) -> None:
    path = "/api/v1/namespaces/default/pods/p/log"
    await api.ok("GET", path)
    assert api.node.since is None
    await api.ok("GET", f"{path}?sinceTime=2026-01-01T01:00:00%2B01:00")
    assert api.node.since == datetime(2026, 1, 1, tzinfo=UTC)
    await api.ok("GET", f"{path}?sinceSeconds=60")
    assert 55 < (datetime.now(UTC) - api.node.since).total_seconds() < 65
    for query in ("sinceTime=yesterday", "sinceSeconds=0", "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z"):
        code, answer = await api.call("GET", f"{path}?{query}")
        assert (code, answer["reason"]) == (400, "BadRequest"), query


async def test_the_namespaces_that_kubernetes_needs_stay(api: Any) -> None:
    code, answer = await api.call("DELETE", "/api/v1/namespaces/default")
    assert (code, answer["reason"]) == (403, "Forbidden")
    assert "may not be deleted" in answer["message"]
    assert (await api.ok("GET", "/api/v1/namespaces/default"))["status"]["phase"] == "Active"


@pytest.mark.usefixtures("api")
async def test_reviews_are_answered(api: Any) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await api.ok("POST", path, review))["status"]["allowed"] is True
    token = api.http.headers["Authorization"].split()[1]
    reviewed = await api.ok("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    assert reviewed["status"]["user"]["username"] == "admin"


# Safety


async def test_concurrent_writers_lose_no_update(api: Any) -> None:
    await api.ok("POST", CONFIGS, {"metadata": {"name": "c"}, "data": {"n": "0"}})

    async def add_one() -> None:
        while True:
            found = await api.ok("GET", f"{CONFIGS}/c")
            found["data"]["n"] = str(int(found["data"]["n"]) + 1)
            status, _ = await api.call("PUT", f"{CONFIGS}/c", found)
            if status == 200:
                return
            assert status == 409

    await asyncio.gather(*(add_one() for _ in range(20)))
    assert (await api.ok("GET", f"{CONFIGS}/c"))["data"] == {"n": "20"}


async def test_the_certificate_is_for_loopback_and_the_service_name(api: Any) -> None:
    import ssl

    trust = ssl.create_default_context(cafile=str(api.ca))
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector) as client:
        url = api.url.replace("127.0.0.1", "localhost")
        async with client.get(f"{url}/healthz", server_hostname="kubernetes.default.svc") as answer:
            assert answer.status == 200
    assert api.kubeconfig.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("path", ["/api/v1/pods", "/api/v1/configmaps"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_nothing_is_written_across_namespaces(api: Any, method: str, path: str) -> None:
    status, answer = await api.call(method, path, {"metadata": {"name": "x"}})
    assert (status, answer["reason"]) == (405, "MethodNotAllowed")


async def test_a_field_that_cannot_be_selected_is_refused(api: Any) -> None:
    status, answer = await api.call("GET", "/api/v1/pods?fieldSelector=spec.hostname%3Dx")
    assert status == 400
    assert "field label not supported: spec.hostname" in answer["message"]


@pytest.mark.parametrize(
    ("body", "media", "says"),
    [
        ("a: &x [1]\nb: *x\n", "application/yaml", "aliases"),
        ("a: [", "application/yaml", "must be of type ConfigMap): yaml"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "application/json", ""),
        ("[" * 200_000, "application/json", ""),
    ],
)
async def test_a_body_made_to_hurt_is_400(api: Any, body: str, media: str, says: str) -> None:
    status, answer = await api.call("POST", CONFIGS, body, headers={"Content-Type": media})
    assert (status, answer["kind"]) == (400, "Status"), answer
    assert says in answer["message"]
    assert (await api.call("GET", CONFIGS))[0] == 200


async def test_only_openapi_v3_is_offered(api: Any) -> None:
    status, answer = await api.call("GET", "/openapi/v2")
    assert status == 406
    assert "kubectl 1.27" in answer["message"]


async def test_a_reader_of_a_silent_log_who_leaves_is_noticed(
    api: Any, pod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del pod
    monkeypatch.setattr("faultlab_embedded.apiserver.streams.LIVENESS_CHECK_S", 0.02)
    closed = asyncio.Event()

    async def silent(*_: Any, **__: Any) -> Any:
        try:
            yield b"first\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    api.node.logs = silent
    answer = await api.http.get(f"{api.url}/api/v1/namespaces/default/pods/p/log?follow=true")
    assert await answer.content.readline() == b"first\n"
    answer.close()
    await asyncio.wait_for(closed.wait(), 10)
