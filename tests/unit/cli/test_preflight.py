"""A run that cannot succeed is refused before anything is created, with what to do."""

import json

import httpx
import pytest
from cli_cluster import Cluster, operator, refusal

from faultlab_cli.errors import CliError
from faultlab_cli.operator_pod import OperatorPod
from faultlab_cli.preflight import prepare
from faultlab_cli.run import namespace_for

NAMESPACE = "/api/v1/namespaces/lab"
CHAOS = {"faultlab.dev/chaos": "enabled"}


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    """A cluster with the lab in it and an open namespace."""
    cluster.answers["/apis/faultlab.dev/v1alpha1"] = {"resources": []}
    cluster.has_pods(operator())
    cluster.answers[NAMESPACE] = {"metadata": {"name": "lab", "labels": CHAOS}}
    return cluster


def check(cluster: Cluster, namespace: str = "lab") -> None:
    kube = cluster.kube()
    prepare(kube, OperatorPod(kube), namespace, pytest.fail)


def test_a_lab_that_is_ready_is_left_as_it_is(ready: Cluster) -> None:
    check(ready)
    assert {request.method for request in ready.asked} == {"GET"}


def test_missing_crds_are_told_with_how_to_install_them(ready: Cluster) -> None:
    del ready.answers["/apis/faultlab.dev/v1alpha1"]
    with pytest.raises(CliError, match=r"context test does not know scenarios.*make kind-up.*helm install"):
        check(ready)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"labels": {}}, "kubectl label namespace lab faultlab.dev/chaos=enabled"),
        ({"labels": {"faultlab.dev/chaos": "no"}}, "lacks the label"),
        ({"labels": CHAOS, "deletionTimestamp": "now"}, "is being deleted"),
    ],
)
def test_a_namespace_that_is_not_open_to_faults_is_refused(
    ready: Cluster, metadata: dict[str, object], told: str
) -> None:
    ready.answers[NAMESPACE] = {"metadata": metadata}
    with pytest.raises(CliError, match=told):
        check(ready)


def test_a_namespace_that_is_missing_is_made_open_to_faults_and_closed_to_unsafe_pods(ready: Cluster) -> None:
    del ready.answers[NAMESPACE]
    made = []
    ready.answers["/api/v1/namespaces"] = lambda request: made.append(json.loads(request.content)) or {}
    check(ready)
    assert made[0]["metadata"] == {
        "name": "lab",
        "labels": CHAOS | {"pod-security.kubernetes.io/enforce": "restricted"},
    }


def test_who_may_not_make_a_namespace_is_told_which_permission_is_missing(ready: Cluster) -> None:
    del ready.answers[NAMESPACE]
    ready.answers["/api/v1/namespaces"] = refusal(
        403,
        "Forbidden",
        'namespaces is forbidden: User "jane" cannot create resource "namespaces" in API group "" '
        "at the cluster scope",
    )
    with pytest.raises(
        CliError, match=r"jane \(context test\) may not create namespaces in the whole cluster"
    ):
        check(ready)


def test_who_may_not_look_at_namespaces_is_not_stopped(ready: Cluster) -> None:
    ready.answers[NAMESPACE] = refusal(403, "Forbidden", "forbidden")
    check(ready)


def test_a_namespace_that_the_operator_does_not_serve_is_refused(ready: Cluster) -> None:
    limited = operator()
    limited["spec"]["containers"][0]["env"] = [{"name": "FAULTLAB_NAMESPACES", "value": "one,two"}]
    ready.has_pods(limited)
    with pytest.raises(CliError, match="serves the namespaces one, two, not lab"):
        check(ready)


def test_credentials_that_are_refused_say_whose(ready: Cluster) -> None:
    ready.answers["/apis/faultlab.dev/v1alpha1"] = refusal(401, "Unauthorized", "Unauthorized")
    with pytest.raises(CliError, match="refuses the credentials of context test"):
        check(ready)


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (
            "[Errno 111] Connection refused",
            r"https://api \(context test\) does not answer: .*refused; is that",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] unknown CA", "certificate that context test does not trust"),
    ],
)
def test_a_cluster_that_is_not_reached_is_a_sentence(ready: Cluster, cause: str, told: str) -> None:
    ready.answers["/apis/faultlab.dev/v1alpha1"] = httpx.ConnectError(cause)
    with pytest.raises(CliError, match=told):
        check(ready)


@pytest.mark.parametrize(
    ("own", "given", "place"),
    [(None, None, "faultlab"), (None, "b", "b"), ("a", None, "a"), ("a", "a", "a")],
)
def test_a_scenario_runs_where_it_is_told_to(own: str | None, given: str | None, place: str) -> None:
    metadata = {"name": "s"} | ({"namespace": own} if own else {})
    assert namespace_for({"metadata": metadata}, given, "faultlab") == place


def test_a_scenario_for_another_namespace_is_refused() -> None:
    with pytest.raises(CliError, match="for namespace a by its own metadata"):
        namespace_for({"metadata": {"name": "s", "namespace": "a"}}, "b", "faultlab")
