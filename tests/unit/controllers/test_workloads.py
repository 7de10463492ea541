"""Deployments, Jobs, DaemonSets, budgets, accounts, events."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from faultlab_embedded.controllers.deployment import absolute
from faultlab_embedded.controllers.events import MAX_EVENTS, sweep_once

DEPLOYMENTS, SETS, JOBS, DAEMONS = "deployments.apps", "replicasets.apps", "jobs.batch", "daemonsets.apps"


def make(cluster: Any, resource: str, kind: str, spec: Any) -> None:
    version = "batch/v1" if kind == "Job" else "apps/v1"
    meta = {"name": "web", "namespace": "default"}
    cluster.registry.create(resource, {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec})


def deploy(cluster: Any, template: Any, **spec: Any) -> None:
    base = {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    make(cluster, DEPLOYMENTS, "Deployment", {**base, **spec})


def change_image(cluster: Any, resource: str) -> None:
    def change(obj: Any) -> Any:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
        return obj

    cluster.registry.modify(resource, "default", "web", change)


async def test_rolling_deployment_never_has_too_few_or_too_many(cluster: Any, template: Any) -> None:
    deploy(
        cluster,
        template,
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
    )
    await cluster.until(lambda: cluster.status(DEPLOYMENTS, "web").get("availableReplicas") == 4)
    counts = []

    def done() -> bool:
        live = [p for p in cluster.pods() if "deletionTimestamp" not in p["metadata"]]
        counts.append((len(live), sum((p.get("status") or {}).get("phase") == "Running" for p in live)))
        status = cluster.status(DEPLOYMENTS, "web")
        return status.get("updatedReplicas") == 4 == status.get("availableReplicas") == status.get("replicas")

    change_image(cluster, DEPLOYMENTS)
    await cluster.settle()
    await cluster.until(done)
    assert max(total for total, _ in counts) <= 5
    assert {p["spec"]["containers"][0]["image"] for p in cluster.pods()} == {"new"}
    assert [s["spec"]["replicas"] for s in cluster.registry.list(SETS)].count(0) == 1
    progress = [c for c in cluster.status(DEPLOYMENTS, "web")["conditions"] if c["type"] == "Progressing"]
    assert progress[0]["reason"] == "NewReplicaSetAvailable"


async def test_stuck_new_pods_do_not_take_the_old_ones_away(cluster: Any, template: Any) -> None:
    deploy(
        cluster,
        template,
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    )
    await cluster.until(lambda: cluster.status(DEPLOYMENTS, "web").get("availableReplicas") == 4)

    class Everything(set[str]):
        def __contains__(self, _: object) -> bool:
            return True

    cluster.stuck = Everything()
    change_image(cluster, DEPLOYMENTS)
    await cluster.until(lambda: len(cluster.pods()) == 5)
    await cluster.settle()
    assert cluster.status(DEPLOYMENTS, "web")["availableReplicas"] == 4
    assert len(cluster.pods()) == 5


async def test_recreate_waits_until_all_old_pods_are_gone(cluster: Any, template: Any) -> None:
    deploy(cluster, template, strategy={"type": "Recreate"})
    await cluster.until(lambda: cluster.status(DEPLOYMENTS, "web").get("availableReplicas") == 4)
    old = set(cluster.names())
    change_image(cluster, DEPLOYMENTS)
    await cluster.until(lambda: set(cluster.names()) - old)
    assert not old & set(cluster.names())
    await cluster.until(lambda: cluster.status(DEPLOYMENTS, "web").get("updatedReplicas") == 4)


@pytest.mark.parametrize(
    ("value", "up", "expected"), [(3, True, 3), ("25%", True, 2), ("25%", False, 1), (None, False, 1)]
)
def test_shares_round_up_for_surge_and_down_for_absence(value: Any, up: bool, expected: int) -> None:
    assert absolute(value, 5, "25%", up=up) == expected


def run_job(cluster: Any, template: Any, **spec: Any) -> None:
    template = copy.deepcopy(template)
    template["spec"]["restartPolicy"] = "Never"
    make(cluster, JOBS, "Job", {"template": template, **spec})


def finished(cluster: Any, kind: str) -> bool:
    conditions = cluster.status(JOBS, "web").get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


async def test_job_runs_as_many_as_asked_and_no_more(cluster: Any, template: Any) -> None:
    cluster.complete = True
    run_job(cluster, template, completions=5, parallelism=2)
    await cluster.until(lambda: finished(cluster, "Complete"))
    await cluster.settle()
    assert len(cluster.pods()) == 5
    assert cluster.status(JOBS, "web")["succeeded"] == 5


async def test_job_fails_at_its_backoff_limit(cluster: Any, template: Any) -> None:
    cluster.fail = True
    run_job(cluster, template, completions=1, backoffLimit=0)
    await cluster.until(lambda: finished(cluster, "Failed"))
    assert cluster.status(JOBS, "web")["conditions"][0]["reason"] == "BackoffLimitExceeded"
    assert len(cluster.pods()) == 1


async def test_finished_job_is_deleted_after_its_time_to_live(cluster: Any, template: Any) -> None:
    cluster.complete = True
    run_job(cluster, template, completions=1, ttlSecondsAfterFinished=0)
    await cluster.until(lambda: not cluster.registry.list(JOBS))
    await cluster.until(lambda: not cluster.pods())


async def test_daemonset_has_one_pod_and_replaces_it(cluster: Any, template: Any) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "embedded", "labels": {"os": "linux"}}}
    cluster.registry.create("nodes", node)
    make(cluster, DAEMONS, "DaemonSet", {"selector": {"matchLabels": {"app": "web"}}, "template": template})
    await cluster.until(lambda: cluster.status(DAEMONS, "web").get("numberReady") == 1)
    change_image(cluster, DAEMONS)
    await cluster.until(lambda: [p["spec"]["containers"][0]["image"] for p in cluster.pods()] == ["new"])
    cluster.registry.patch(
        DAEMONS, "default", "web", {"spec": {"template": {"spec": {"nodeSelector": {"os": "x"}}}}}
    )
    await cluster.until(lambda: not cluster.pods())
    assert cluster.status(DAEMONS, "web")["desiredNumberScheduled"] == 0


async def test_budget_allows_one_and_then_none(cluster: Any, make_set: Any) -> None:
    meta = {"name": "web", "namespace": "default"}
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec}
    resource = "poddisruptionbudgets.policy"
    cluster.registry.create(resource, budget)
    make_set()
    await cluster.until(lambda: cluster.status(resource, "web").get("disruptionsAllowed") == 1)
    cluster.set_phase(cluster.get("pods", "web-0"), "Running", ready=False)
    await cluster.until(lambda: cluster.status(resource, "web").get("disruptionsAllowed") == 0)
    assert cluster.status(resource, "web")["desiredHealthy"] == 2


async def test_every_namespace_gets_its_account_and_certificate(cluster: Any) -> None:
    cluster.registry.create("namespaces", {"metadata": {"name": "later"}})
    await cluster.until(lambda: cluster.registry.find("serviceaccounts", "later", "default"))
    cluster.registry.delete("serviceaccounts", "later", "default")
    await cluster.until(lambda: cluster.registry.find("serviceaccounts", "later", "default"))
    root = cluster.registry.get("configmaps", "later", "kube-root-ca.crt")
    assert root["data"] == {"ca.crt": "ca"}


def test_old_events_go_and_new_ones_stay(registry: Any) -> None:
    at = datetime(2024, 1, 1, 12, tzinfo=UTC)
    for name, age in (("old", timedelta(hours=2)), ("new", timedelta(minutes=5))):
        seen = (at - age).strftime("%Y-%m-%dT%H:%M:%SZ")
        involved = {"kind": "Pod", "name": "p", "namespace": "default"}
        meta = {"name": name, "namespace": "default"}
        event = {"apiVersion": "v1", "kind": "Event", "metadata": meta, "involvedObject": involved}
        registry.create("events", {**event, "lastTimestamp": seen})
    sweep_once(registry, at)
    assert [event["metadata"]["name"] for event in registry.list("events")] == ["new"]
    assert MAX_EVENTS >= 1000
