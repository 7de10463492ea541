"""Watches over HTTP: resuming, bookmarks, selections, and how they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

CONFIGS = "/api/v1/namespaces/default/configmaps"


def make(api: Any, name: str, **labels: str) -> int:
    made = api.registry.create("configmaps", {"metadata": {"name": name, "labels": labels}})
    return int(made["metadata"]["resourceVersion"])


async def test_a_watch_resumes_where_a_list_ended(api: Any) -> None:
    make(api, "a")
    version = (await api.ok("GET", CONFIGS))["metadata"]["resourceVersion"]
    make(api, "b")
    watch = await api.watch(f"{CONFIGS}?resourceVersion={version}")
    make(api, "c")
    assert await watch.names(2) == [("ADDED", "b"), ("ADDED", "c")]


@pytest.mark.parametrize("version", ["", "0"])
async def test_a_watch_without_a_version_starts_with_what_is_there(api: Any, version: str) -> None:
    make(api, "a")
    watch = await api.watch(f"{CONFIGS}?resourceVersion={version}")
    make(api, "b")
    assert await watch.names(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_version_that_is_forgotten_gets_410_and_the_end(api: Any) -> None:
    early = make(api, "a")
    api.registry._logs["configmaps"]._max_events = 1
    make(api, "b")
    make(api, "c")
    watch = await api.watch(f"{CONFIGS}?resourceVersion={early}")
    event = await watch.next()
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired"
    assert await watch.ended()


async def test_bookmarks_come_only_to_those_who_ask(serve: Any) -> None:
    api = await serve(bookmark_interval_s=0.05)
    plain = await api.watch(f"{CONFIGS}?timeoutSeconds=1")
    asking = await api.watch(f"{CONFIGS}?allowWatchBookmarks=true&timeoutSeconds=30")
    first, second = await asking.next(), await asking.next()
    assert [first["type"], second["type"]] == ["BOOKMARK", "BOOKMARK"]
    assert first["object"]["kind"] == "ConfigMap"
    assert int(first["object"]["metadata"]["resourceVersion"]) == api.registry.version
    assert await plain.ended()


async def test_a_bookmark_moves_on_with_writes_to_other_resources(serve: Any) -> None:
    api = await serve(bookmark_interval_s=0.05)
    watch = await api.watch(f"{CONFIGS}?allowWatchBookmarks=true")
    api.registry.create("secrets", {"metadata": {"name": "s"}})
    version = api.registry.version
    while int((await watch.next())["object"]["metadata"]["resourceVersion"]) < version:
        pass


async def test_initial_events_end_with_their_bookmark(api: Any) -> None:
    make(api, "a")
    query = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    watch = await api.watch(f"{CONFIGS}?{query}")
    assert (await watch.next())["type"] == "ADDED"
    end = await watch.next()
    assert end["type"] == "BOOKMARK"
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_initial_events_without_their_match_are_422(api: Any) -> None:
    status, answer = await api.call("GET", f"{CONFIGS}?watch=1&sendInitialEvents=true")
    assert status == 422
    assert "NotOlderThan" in answer["message"]


async def test_an_object_that_leaves_the_selection_is_deleted_for_it(api: Any) -> None:
    watch = await api.watch(f"{CONFIGS}?labelSelector=app%3Dx")
    make(api, "a", app="x")
    make(api, "b", app="y")
    api.registry.patch("configmaps", "default", "a", {"metadata": {"labels": {"app": "y"}}})
    api.registry.patch("configmaps", "default", "b", {"metadata": {"labels": {"app": "x"}}})
    assert await watch.names(3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]


async def test_who_sees_an_object_no_more_is_told_how_it_was_last(api: Any) -> None:
    watch = await api.watch(f"{CONFIGS}?labelSelector=app%3Dx")
    make(api, "a", app="x")
    api.registry.patch(
        "configmaps", "default", "a", {"metadata": {"labels": {"app": "y"}}, "data": {"k": "v"}}
    )
    now = api.registry.get("configmaps", "default", "a")["metadata"]["resourceVersion"]
    last = [await watch.next() for _ in range(2)][-1]
    assert (last["type"], last["object"]["metadata"]["labels"]) == ("DELETED", {"app": "x"})
    assert "data" not in last["object"]
    assert last["object"]["metadata"]["resourceVersion"] == now


async def test_a_deleted_object_still_has_the_finalizer_that_went_last(api: Any) -> None:
    watch = await api.watch(CONFIGS)
    api.registry.create("configmaps", {"metadata": {"name": "a", "finalizers": ["example.dev/x"]}})
    api.registry.delete("configmaps", "default", "a")
    api.registry.patch("configmaps", "default", "a", {"metadata": {"finalizers": []}})
    last = [await watch.next() for _ in range(3)][-1]
    assert (last["type"], last["object"]["metadata"]["finalizers"]) == ("DELETED", ["example.dev/x"])


async def test_a_watch_of_one_name_sees_no_other(api: Any) -> None:
    watch = await api.watch(f"{CONFIGS}?fieldSelector=metadata.name%3Db")
    make(api, "a")
    make(api, "b")
    assert await watch.names(1) == [("ADDED", "b")]


async def test_a_watch_ends_after_its_timeout(api: Any) -> None:
    watch = await api.watch(f"{CONFIGS}?timeoutSeconds=1")
    assert await watch.ended()


async def test_a_watch_in_tables_has_its_columns_once(api: Any) -> None:
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with api.http.get(f"{api.url}{CONFIGS}?watch=1", headers=headers) as answer:
        make(api, "a")
        make(api, "b")
        events = [json.loads(await answer.content.readline()) for _ in range(2)]
    assert [event["object"]["kind"] for event in events] == ["Table", "Table"]
    assert [event["object"]["rows"][0]["cells"][0] for event in events] == ["a", "b"]
    assert [bool(event["object"]["columnDefinitions"]) for event in events] == [True, False]


async def test_a_reader_who_takes_nothing_costs_no_memory_and_is_told_410(serve: Any) -> None:
    api = await serve()
    watch = await api.watch(CONFIGS)
    make(api, "a")
    await watch.next()
    log = api.registry._logs["configmaps"]
    log._max_events = 20
    for number in range(400):
        api.registry.patch("configmaps", "default", "a", {"data": {"n": str(number)}})
    assert len(log._changes) <= 20
    assert (await watch.next())["object"]["code"] == 410


async def test_open_watches_do_not_hold_the_servers_end(api: Any) -> None:
    watch = await api.watch(CONFIGS)
    await asyncio.wait_for(api.stop(), 5)
    assert await watch.ended()
