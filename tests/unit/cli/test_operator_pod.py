"""The operator is found, asked and, where there is none to ask, accounted for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_cluster import Cluster, operator, proxied, refusal

from faultlab_cli import operator_pod
from faultlab_cli.errors import CliError
from faultlab_cli.kube import ApiError, Unreachable
from faultlab_cli.operator_pod import OperatorAway, OperatorPod

FILE = proxied("v1/runs/u/artifacts/history.ndjson")
CONTENT = bytes(range(256)) * 40


@pytest.fixture
def pod(cluster: Cluster) -> OperatorPod:
    return OperatorPod(cluster.kube())


def test_the_pod_that_is_ready_and_stays_is_asked(cluster: Cluster, pod: OperatorPod) -> None:
    ending = operator("op-0")
    ending["metadata"]["deletionTimestamp"] = "now"
    cluster.has_pods(ending, operator("op-2", ready=False), operator("op-3", phase="Succeeded"), operator())
    cluster.answers[proxied("v1/runs")] = {"runs": []}
    assert pod.get("/v1/runs").json() == {"runs": []}


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(502, text="bad gateway"),
        refusal(503, "ServiceUnavailable", "no endpoints"),
        refusal(404, "NotFound", 'pods "op-1" not found'),
        httpx.ReadError("reset"),
    ],
    ids=["502", "503", "pod gone", "broken"],
)
def test_after_a_failure_the_pod_is_looked_for_again(
    cluster: Cluster, pod: OperatorPod, failure: Any
) -> None:
    cluster.has_pods(operator())
    cluster.answers[proxied("live")] = failure
    with pytest.raises((OperatorAway, Unreachable)):
        pod.get("/live")
    cluster.has_pods(operator("op-2"))
    cluster.answers[proxied("live", "op-2")] = {"phase": "Fault"}
    assert pod.get("/live").json() == {"phase": "Fault"}


def test_what_the_operator_itself_refuses_is_no_absence(cluster: Cluster, pod: OperatorPod) -> None:
    cluster.has_pods(operator())
    cluster.answers[proxied("live")] = httpx.Response(404, text="there is no scenario x in namespace y")
    with pytest.raises(ApiError, match="there is no scenario x"):
        pod.get("/live")


def test_a_missing_permission_is_named_and_ends_it(cluster: Cluster, pod: OperatorPod) -> None:
    cluster.has_pods(operator())
    cluster.answers[proxied("live")] = refusal(
        403,
        "Forbidden",
        'pods "op-1" is forbidden: User "jane" cannot get resource "pods/proxy" in API group "" '
        'in the namespace "faultlab-system"',
    )
    with pytest.raises(ApiError, match=r"jane .* may not get pods/proxy in namespace faultlab-system"):
        pod.get("/live")


WAITING = {
    "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
}
UNSCHEDULABLE = [
    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes are free"}
]
CRASHING = {"containerStatuses": [{"restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (operator(ready=False, phase="Pending", **WAITING), r"Pending \(ImagePullBackOff: no such image\)"),
        (
            operator(phase="Pending", conditions=UNSCHEDULABLE),
            r"Pending \(Unschedulable: 0/4 nodes are free\)",
        ),
        (operator(ready=False, **CRASHING), r"has crashed \(restarts: 7;"),
        (operator(ready=False), "is Running and not ready yet"),
    ],
    ids=["image", "unschedulable", "crashing", "starting"],
)
def test_the_state_of_a_pod_that_is_not_ready_is_told(
    cluster: Cluster, pod: OperatorPod, found: dict[str, Any], told: str
) -> None:
    cluster.has_pods(found)
    with pytest.raises(OperatorAway, match=told):
        pod.get("/live")


def test_a_pod_whose_image_cannot_be_had_is_not_waited_for(cluster: Cluster, pod: OperatorPod) -> None:
    cluster.has_pods(operator(ready=False, phase="Pending", **WAITING))
    with pytest.raises(CliError, match="ImagePullBackOff"):
        pod.await_ready(pytest.fail)
    assert len(cluster.asked) == 1


def test_a_lab_that_is_elsewhere_or_nowhere_is_told_apart(cluster: Cluster, pod: OperatorPod) -> None:
    cluster.has_pods()
    elsewhere = operator()
    elsewhere["metadata"]["namespace"] = "chaos"
    cluster.answers["/api/v1/pods"] = [{"items": [elsewhere]}, {"items": []}]
    with pytest.raises(CliError, match="there is one in chaos: --lab-namespace"):
        pod.await_ready(pytest.fail)
    with pytest.raises(CliError, match="helm install"):
        pod.await_ready(pytest.fail)


def test_a_deployment_that_makes_no_pod_says_why(cluster: Cluster, pod: OperatorPod) -> None:
    cluster.has_pods()
    condition = {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"}
    cluster.answers["/apis/apps/v1/namespaces/faultlab-system/deployments/faultlab-operator"] = [
        {"spec": {"replicas": 1}, "status": {"conditions": [condition]}},
        {"spec": {"replicas": 0}},
    ]
    with pytest.raises(OperatorAway, match="violates PodSecurity"):
        pod.get("/live")
    with pytest.raises(CliError, match="scaled to 0; `kubectl scale"):
        pod.await_ready(pytest.fail)


def test_an_operator_that_starts_is_waited_for(cluster: Cluster, pod: OperatorPod) -> None:
    served = operator()
    served["spec"]["containers"][0]["env"] = [{"name": "FAULTLAB_NAMESPACES", "value": "one,two"}]
    cluster.answers["/api/v1/namespaces/faultlab-system/pods"] = [
        {"items": [operator(ready=False)]},
        {"items": [served]},
    ]
    assert pod.await_ready(lambda _text: None) == ("one", "two")


class Broken(httpx.SyncByteStream):
    """The first bytes, then a connection that ends."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("connection reset")


def _ranged(request: httpx.Request, tag: str = '"a"', content: bytes = CONTENT) -> httpx.Response:
    headers = {"ETag": tag}
    wanted = request.headers.get("Range")
    if wanted and request.headers["If-Range"] == tag:
        begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        return httpx.Response(206, headers=headers, content=content[begin:])
    return httpx.Response(200, headers=headers, content=content)


def _breaks(begin: int, end: int) -> httpx.Response:
    code = 206 if begin else 200
    return httpx.Response(code, headers={"ETag": '"a"'}, stream=Broken(CONTENT[begin:end]))


def test_a_download_goes_on_where_it_broke_off_over_a_new_operator(
    cluster: Cluster, pod: OperatorPod, tmp_path: Path
) -> None:
    cluster.has_pods(operator())
    cluster.answers[FILE] = [_breaks(0, 1000), refusal(502, "", "gone"), _breaks(1000, 5000), _ranged]
    pod.fetch("/v1/runs/u/artifacts/history.ndjson", tmp_path / "history.ndjson")
    assert (tmp_path / "history.ndjson").read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["history.ndjson"]
    ranges = [r.headers.get("Range") for r in cluster.asked if r.url.path == FILE]
    assert ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=5000-"]


def test_a_file_that_has_changed_meanwhile_is_taken_from_its_start(
    cluster: Cluster, pod: OperatorPod, tmp_path: Path
) -> None:
    cluster.has_pods(operator())
    other = b"other" * 500
    cluster.answers[FILE] = [_breaks(0, 1000), lambda request: _ranged(request, '"b"', other)]
    pod.fetch("/v1/runs/u/artifacts/history.ndjson", tmp_path / "history.ndjson")
    assert (tmp_path / "history.ndjson").read_bytes() == other


def test_a_download_that_broke_off_after_its_last_byte_ends(
    cluster: Cluster, pod: OperatorPod, tmp_path: Path
) -> None:
    cluster.has_pods(operator())
    cluster.answers[FILE] = [_breaks(0, len(CONTENT)), httpx.Response(416, text="no such range"), _ranged]
    pod.fetch("/v1/runs/u/artifacts/history.ndjson", tmp_path / "history.ndjson")
    assert (tmp_path / "history.ndjson").read_bytes() == CONTENT


def test_a_download_that_brings_nothing_is_given_up_with_nothing_under_its_name(
    cluster: Cluster, pod: OperatorPod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_pod, "FETCH_SILENCE_S", 0.05)
    cluster.has_pods(operator())
    cluster.answers[FILE] = refusal(502, "", "gone")
    with pytest.raises(CliError, match=r"history\.ndjson could not be fetched"):
        pod.fetch("/v1/runs/u/artifacts/history.ndjson", tmp_path / "history.ndjson")
    assert not (tmp_path / "history.ndjson").exists()
