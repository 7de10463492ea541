"""Settings of a cluster that are seen in what it does: who leads, who may write, what becomes of the log."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from clusters import (
    API,
    LOAD,
    NAME,
    apply,
    assert_nothing_was_lost,
    is_settled,
    load_status,
    scale,
    start,
    status,
)
from lab import Lab, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
PREFERRED = "demo-2"
PASSWORD = "only-for-this-test"
USERS = {
    "users": [
        {
            "name": "load",
            "passwordSha256": hashlib.sha256(PASSWORD.encode()).hexdigest(),
            "rules": [{"prefix": "", "access": "all"}],
        }
    ]
}


def _secret(name: str, **texts: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts}


def _load(name: str, **spec: Any) -> dict[str, Any]:
    busy = {"arrival": {"mode": "constantRate", "operationsPerSecond": 400}, "users": 24}
    return {
        "apiVersion": API,
        "kind": "LoadTest",
        "metadata": {"name": name},
        "spec": {**LOAD["spec"], **busy, **spec},
    }


def test_a_cluster_with_every_setting_serves_whoever_logs_in(
    world_lab: Lab, namespace: str, tmp_path: Path
) -> None:
    apply(world_lab, namespace, tmp_path, _secret("demo-users", **{"users.json": json.dumps(USERS)}))
    apply(world_lab, namespace, tmp_path, _secret("demo-login", username="load", password=PASSWORD))
    start(
        world_lab,
        namespace,
        tmp_path,
        reads="follower",
        leaderPriority={PREFERRED: 10},
        snapshot={"logSize": "1Mi"},
        maxUncommitted="8Mi",
        clientAuth={"secretName": "demo-users"},
    )
    leads = lambda: status(world_lab, namespace).get("leader") == PREFERRED  # noqa: E731
    eventually("the preferred member leads", leads, 30)

    apply(world_lab, namespace, tmp_path, _load("stranger"))
    apply(world_lab, namespace, tmp_path, _load(NAME, clientAuth={"secretName": "demo-login"}))
    eventually("who logs in is served", lambda: _ok(world_lab, namespace) > 500, 60)
    stranger = world_lab.status_of("loadtest", "stranger", namespace)
    assert not stranger.get("ok"), stranger

    def has_snapshot() -> bool:
        return bool((world_lab.member(PREFERRED, namespace) or {}).get("snapshotIndex"))

    eventually("the log is cut behind a snapshot", has_snapshot, 90)
    scale(world_lab, namespace, 5)
    eventually("new members go on from it", lambda: is_settled(world_lab, namespace, 5), 90)
    joined = world_lab.member("demo-4", namespace)
    assert joined is not None
    assert joined["firstIndex"] > 1, "it was sent what had been dropped from the log"
    assert_nothing_was_lost(world_lab, namespace, tmp_path, 1000)


def _ok(lab: Lab, namespace: str) -> int:
    running = lab.status_of("loadtest", NAME, namespace).get("phase") == "Running"
    return int(load_status(lab, namespace)["ok"]) if running else 0
