"""Lists over HTTP: pages, selectors, tables, metadata alone."""

from __future__ import annotations

from typing import Any

import pytest

CONFIGS = "/api/v1/namespaces/default/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
POD = {
    "metadata": {"name": "p"},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


@pytest.fixture
def pod(api: Any) -> Any:
    return api.registry.create("pods", POD)


async def test_a_list_comes_in_pages(api: Any) -> None:
    for number in range(5):
        await api.ok("POST", CONFIGS, {"metadata": {"name": f"c{number}"}})
    seen, token = [], ""
    while True:
        page = await api.ok("GET", f"{CONFIGS}?limit=2" + (f"&continue={token}" if token else ""))
        seen.append([item["metadata"]["name"] for item in page["items"]])
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert seen == [["c0", "c1"], ["c2", "c3"], ["c4"]]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=x", ["a"]),
        ("app!=x", ["b", "c"]),
        ("app in (x,y)", ["a", "b"]),
        ("app notin (x)", ["b", "c"]),
        ("app", ["a", "b"]),
        ("!app", ["c"]),
        ("app=x,tier=db", []),
        ("app==x,tier", ["a"]),
        ("", ["a", "b", "c"]),
    ],
)
async def test_labels_select(api: Any, selector: str, names: list[str]) -> None:
    for name, labels in (("a", {"app": "x", "tier": "web"}), ("b", {"app": "y"}), ("c", {})):
        api.registry.create("configmaps", {"metadata": {"name": name, "labels": labels}})
    listed = await api.ok("GET", f"{CONFIGS}?labelSelector={selector.replace(' ', '%20')}")
    assert [item["metadata"]["name"] for item in listed["items"]] == names


@pytest.mark.usefixtures("pod")
async def test_fields_select(api: Any) -> None:
    api.registry.create("pods", {**POD, "metadata": {"name": "q"}})
    api.registry.patch("pods", "default", "q", {"status": {"phase": "Running"}}, subresource="status")

    async def names(selector: str) -> list[str]:
        listed = await api.ok("GET", f"/api/v1/pods?fieldSelector={selector}")
        return [item["metadata"]["name"] for item in listed["items"]]

    assert await names("status.phase=Running") == ["q"]
    assert await names("status.phase!=Running") == ["p"]
    assert await names("metadata.name=p,metadata.namespace=default") == ["p"]
    assert await names("spec.nodeName=") == ["p", "q"]


async def test_a_list_is_of_the_present(api: Any) -> None:
    status, answer = await api.call("GET", f"{CONFIGS}?resourceVersion=99999")
    assert (status, answer["reason"]) == (504, "Timeout")
    status, _ = await api.call("GET", f"{CONFIGS}?resourceVersion=1&resourceVersionMatch=Exact")
    assert status == 410
    assert (await api.call("GET", f"{CONFIGS}?resourceVersion=1"))[0] == 200


async def test_tables_have_rows_with_metadata(api: Any, pod: Any) -> None:
    table = await api.ok("GET", "/api/v1/pods", headers=TABLE)
    assert [column["name"] for column in table["columnDefinitions"]][:5] == [
        "Name", "Ready", "Status", "Restarts", "Age",
    ]  # fmt: skip
    assert table["rows"][0]["cells"][:4] == ["p", "0/1", "Pending", "0"]
    assert table["rows"][0]["object"]["metadata"]["uid"] == pod["metadata"]["uid"]
    whole = await api.ok("GET", "/api/v1/pods?includeObject=Object", headers=TABLE)
    assert whole["rows"][0]["object"]["kind"] == "Pod"


async def test_a_pods_row_says_when_it_is_over_and_how_often_init_containers_failed(
    api: Any, pod: Any
) -> None:
    name = pod["metadata"]["name"]
    waiting = {"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    api.registry.patch("pods", "default", name, {"status": {"initContainerStatuses": [waiting]}}, "status")
    row = (await api.ok("GET", f"/api/v1/namespaces/default/pods/{name}", headers=TABLE))["rows"][0]
    assert row["cells"][2:4] == ["Init:CrashLoopBackOff", "2"]
    assert "conditions" not in row
    api.registry.patch("pods", "default", name, {"status": {"phase": "Failed"}}, "status")
    row = (await api.ok("GET", f"/api/v1/namespaces/default/pods/{name}", headers=TABLE))["rows"][0]
    assert [(item["type"], item["reason"]) for item in row["conditions"]] == [("Completed", "Failed")]


@pytest.mark.parametrize(
    ("path", "shape"),
    [(CONFIGS, "PartialObjectMetadata"), (f"{CONFIGS}/c", "PartialObjectMetadataList")],
)
async def test_metadata_of_a_list_and_of_an_object_are_asked_for_apart(
    api: Any, path: str, shape: str
) -> None:
    api.registry.create("configmaps", {"metadata": {"name": "c"}})
    headers = {"Accept": f"application/json;as={shape};v=v1;g=meta.k8s.io"}
    status, answer = await api.call("GET", path, headers=headers)
    assert (status, answer["reason"]) == (406, "NotAcceptable")
    assert f"you requested {shape}, but the requested object is" in answer["message"]


async def test_a_slice_shows_its_ports_and_addresses(api: Any) -> None:
    addresses = [f"10.0.0.{number}" for number in range(1, 6)]
    piece = {
        "metadata": {"name": "s"},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }
    api.registry.create("endpointslices.discovery.k8s.io", piece)
    table = await api.ok("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", headers=TABLE)
    assert table["rows"][0]["cells"][:4] == ["s", "IPv4", "80", "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more..."]


async def test_metadata_alone_can_be_asked_for(api: Any, pod: Any) -> None:
    headers = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    listed = await api.ok("GET", "/api/v1/pods", headers=headers)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}
    assert listed["items"][0]["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_events_have_two_views_of_the_same(api: Any) -> None:
    event = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "note": "hello",
        "reason": "Greeted",
        "type": "Normal",
        "reportingController": "x",
    }
    made = await api.ok("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)
    assert made["note"] == "hello"
    core = await api.ok("GET", "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp")
    assert core["items"][0]["message"] == "hello"
    watch = await api.watch("/apis/events.k8s.io/v1/events")
    assert (await watch.next())["object"]["apiVersion"] == "events.k8s.io/v1"
