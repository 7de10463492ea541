"""What tests of clusters that change while they serve do: begin one, load it, look at it, judge it."""

from pathlib import Path
from typing import Any

from lab import Lab, eventually

from faultlab.checker import check
from faultlab.history import Event, read_events
from faultlab_cli.kube import pod_proxy

API = "faultlab.dev/v1alpha1"
NAME = "demo"
LOAD_PORT = 8089

LOAD: dict[str, Any] = {
    "apiVersion": API,
    "kind": "LoadTest",
    "metadata": {"name": NAME},
    "spec": {
        "system": {"kind": "RaftCluster", "name": NAME},
        "users": 12,
        "arrival": {"mode": "constantRate", "operationsPerSecond": 150},
        "mix": {"read": 40, "write": 35, "cas": 10, "append": 10, "incr": 5},
        "keys": {"count": 25},
        "record": True,
    },
}


def cluster(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "RaftCluster",
        "metadata": {"name": NAME},
        "spec": {"replicas": 3, **spec},
    }


def apply(lab: Lab, namespace: str, folder: Path, document: dict[str, Any]) -> None:
    applied = lab.apply(folder, namespace, document)
    assert applied.returncode == 0, applied.stderr


def start(lab: Lab, namespace: str, folder: Path, **spec: Any) -> None:
    """Makes the cluster and waits until it serves."""
    apply(lab, namespace, folder, cluster(**spec))
    eventually("the cluster is Ready", lambda: lab.holds("raft", NAME, "Ready", namespace), 60)
    eventually("its rollout is done", lambda: lab.holds("raft", NAME, "RolledOut", namespace), 10)


def scale(lab: Lab, namespace: str, replicas: int) -> None:
    """`kubectl scale raft/demo --replicas=N`: a patch of the scale subresource."""
    kube = lab.kube()
    kube.request(
        "PATCH",
        f"{kube.resource('raft').path(namespace, NAME)}/scale",
        headers={"Content-Type": "application/merge-patch+json"},
        json={"spec": {"replicas": replicas}},
    )


def status(lab: Lab, namespace: str) -> dict[str, Any]:
    return lab.status_of("raft", NAME, namespace)


def said(lab: Lab, namespace: str, condition: str) -> tuple[str, str, str]:
    """A condition's status, reason and message."""
    found = lab.condition("raft", NAME, condition, namespace) or {}
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def holds_now(lab: Lab, namespace: str, *conditions: str) -> bool:
    """Whether these are True of the newest spec."""
    found = lab.object("raft", NAME, namespace)
    assert found is not None
    known = {each["type"]: each for each in found["status"]["conditions"]}
    return all(
        known[kind]["status"] == "True"
        and known[kind]["observedGeneration"] == found["metadata"]["generation"]
        for kind in conditions
    )


def is_settled(lab: Lab, namespace: str, members: int) -> bool:
    """Whether so many members decide, all of them serve, and nothing is under way."""
    return (
        holds_now(lab, namespace, "MembershipSettled", "Ready", "RolledOut")
        and status(lab, namespace)["readyMembers"] == f"{members}/{members}"
    )


def pods(lab: Lab, namespace: str) -> dict[str, dict[str, Any]]:
    """The members' pods that are not being ended."""
    found = lab.objects("pods", namespace, f"app.kubernetes.io/name=raft,app.kubernetes.io/instance={NAME}")
    return {pod["metadata"]["name"]: pod for pod in found if not pod["metadata"].get("deletionTimestamp")}


def uids(lab: Lab, namespace: str) -> dict[str, str]:
    """Of the members' pods."""
    return {name: pod["metadata"]["uid"] for name, pod in pods(lab, namespace).items()}


def claims(lab: Lab, namespace: str) -> dict[str, str]:
    """The volume claims' uids."""
    found = lab.objects("persistentvolumeclaims", namespace)
    return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in found}


def events(lab: Lab, namespace: str, reason: str = "") -> list[str]:
    """The messages of the cluster's Events of a reason; the reasons of all, without one."""
    found = [
        event
        for event in lab.objects("events", namespace)
        if event["involvedObject"]["kind"] == "RaftCluster"
    ]
    if not reason:
        return [event["reason"] for event in found]
    return [event["message"] for event in found if event["reason"] == reason]


def begin_load(lab: Lab, namespace: str, folder: Path) -> None:
    """Starts clients whose every operation is recorded, and waits until they have been served."""
    apply(lab, namespace, folder, LOAD)
    running = lambda: lab.status_of("loadtest", NAME, namespace).get("phase") == "Running"  # noqa: E731
    eventually("the load runs", running, 60)
    eventually("it has written", lambda: load_status(lab, namespace)["ok"] > 300, 30)


def load_status(lab: Lab, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = lab.kube().get(_load(namespace, "/faultlab/status"))
    return found


def more_load(lab: Lab, namespace: str, operations: int) -> None:
    """Waits until the load has had so many more operations served."""
    wanted = load_status(lab, namespace)["ok"] + operations
    eventually("the load goes on", lambda: load_status(lab, namespace)["ok"] > wanted, 60)


def history(lab: Lab, namespace: str, file: Path) -> list[Event]:
    """Ends the load, with the final reads, and fetches what its clients saw."""
    lab.kube().request("POST", _load(namespace, "/faultlab/finish"))
    eventually("the load is done", lambda: load_status(lab, namespace)["phase"] == "finished", 60)
    with (
        lab.kube().stream(_load(namespace, "/faultlab/history"), timeout=60) as answer,
        file.open("wb") as out,
    ):
        for chunk in answer.iter_bytes():
            out.write(chunk)
    return list(read_events(file))


def assert_nothing_was_lost(lab: Lab, namespace: str, folder: Path, acknowledged: int) -> None:
    """Ends the load: its history has an order in which nothing acknowledged is missing, and is long enough
    to say so."""
    seen = history(lab, namespace, folder / "history.ndjson")
    found = load_status(lab, namespace)
    assert found["unread"] == 0, "every key was read once more"
    written = sum(event.type == "ok" and event.f != "read" for event in seen)
    assert written > acknowledged, found
    result = check(seen, "mixed", time_limit_s=60)
    assert result.result == "valid", result.message


def _load(namespace: str, path: str) -> str:
    return pod_proxy(namespace, f"{NAME}-load", LOAD_PORT, path)
