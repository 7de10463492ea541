"""What each account may do, by Kubernetes' own authorizer and the chart's roles: this, and nothing else."""

from collections.abc import Iterator

import pytest
from chart_cluster import Cluster
from chart_lab import NAMESPACE

from faultlab_operator.api import KINDS

OURS = sorted(f"{model.plural}.faultlab.dev" for model in KINDS.values())
MADE_BY_SCENARIOS = [kind for kind in OURS if not kind.startswith("scenarios")]

WATCHED = {f"{verb} {kind}" for verb in ("list", "watch") for kind in (*OURS, "pods", "statefulsets.apps")}
WRITTEN = {
    *(f"{verb} {kind}" for verb in ("create", "patch", "delete") for kind in MADE_BY_SCENARIOS),
    *(f"patch {kind.replace('.', '/status.', 1)}" for kind in OURS),
    *(
        f"{verb} {kind}"
        for verb in ("create", "patch")
        for kind in ("configmaps", "services", "statefulsets.apps", "poddisruptionbudgets.policy", "events")
    ),
    *(f"{verb} pods" for verb in ("create", "patch", "delete")),
    *(f"{verb} secrets" for verb in ("create", "get")),
    *(f"{verb} persistentvolumeclaims" for verb in ("list", "delete")),
}
CLUSTER_WIDE = {
    f"{verb} {kind}"
    for verb in ("list", "watch")
    for kind in ("namespaces", "customresourcedefinitions.apiextensions.k8s.io")
}
AT_HOME = {
    "create leases.coordination.k8s.io",
    "get leases.coordination.k8s.io faultlab-operator",
    "update leases.coordination.k8s.io faultlab-operator",
    "create secrets",
    "get secrets faultlab-agent",
}
ELSEWHERE = "somebody-elses"


@pytest.fixture
def fresh(installed: Cluster) -> Cluster:
    """With an account that has no role, to compare with."""
    installed.make_account("somebody")
    return installed


def test_operator_may_do_its_work_in_every_namespace_and_nothing_else(fresh: Cluster) -> None:
    everywhere = CLUSTER_WIDE | WATCHED | WRITTEN
    assert fresh.rights("faultlab-operator", ELSEWHERE) == everywhere
    assert fresh.rights("faultlab-operator", NAMESPACE) == everywhere | AT_HOME


@pytest.fixture
def confined(fresh: Cluster) -> Iterator[Cluster]:
    """With an operator that serves the namespace faultlab alone."""
    fresh.install({"operator": {"watchNamespaces": ["faultlab"]}})
    yield fresh
    fresh.install()


def test_operator_of_named_namespaces_may_write_only_there(confined: Cluster) -> None:
    assert confined.rights("faultlab-operator", ELSEWHERE) == CLUSTER_WIDE
    assert confined.rights("faultlab-operator", "faultlab") == CLUSTER_WIDE | WATCHED | WRITTEN
    assert confined.rights("faultlab-operator", NAMESPACE) == CLUSTER_WIDE | WATCHED | AT_HOME


def test_operator_of_named_namespaces_may_read_no_other_secrets(confined: Cluster) -> None:
    may_get = lambda namespace, name: confined.may(  # noqa: E731
        "faultlab-operator", "get", "secrets", namespace=namespace, name=name
    )
    assert may_get("faultlab", "demo-peers")
    assert may_get(NAMESPACE, "faultlab-agent")
    assert not may_get(NAMESPACE, "another")
    assert not may_get(ELSEWHERE, "demo-peers")


def test_agent_may_only_look_whether_it_is_being_uninstalled(fresh: Cluster) -> None:
    assert fresh.rights("faultlab-agent", ELSEWHERE) == set()
    assert fresh.rights("faultlab-agent", NAMESPACE) == {
        "get daemonsets.apps faultlab-agent",
        f"get namespaces {NAMESPACE}",
    }


NAMED = [
    ("faultlab-operator", "get", "secrets", NAMESPACE, "faultlab-agent", True),
    ("faultlab-operator", "get", "secrets", "faultlab", "demo-peers", True),
    ("faultlab-operator", "list", "secrets", "faultlab", "", False),
    ("faultlab-operator", "update", "secrets", "faultlab", "demo-peers", False),
    ("faultlab-operator", "delete", "secrets", "faultlab", "demo-peers", False),
    ("faultlab-operator", "update", "secrets", NAMESPACE, "faultlab-agent", False),
    ("faultlab-operator", "delete", "secrets", NAMESPACE, "faultlab-agent", False),
    ("faultlab-operator", "get", "leases.coordination.k8s.io", NAMESPACE, "faultlab-operator", True),
    ("faultlab-operator", "update", "leases.coordination.k8s.io", NAMESPACE, "faultlab-operator", True),
    ("faultlab-operator", "update", "leases.coordination.k8s.io", NAMESPACE, "another", False),
    ("faultlab-operator", "update", "leases.coordination.k8s.io", "kube-system", "faultlab-operator", False),
    ("faultlab-operator", "patch", "daemonsets.apps", NAMESPACE, "faultlab-agent", False),
    ("faultlab-operator", "create", "serviceaccounts/token", NAMESPACE, "faultlab-agent", False),
    ("faultlab-agent", "get", "daemonsets.apps", NAMESPACE, "faultlab-agent", True),
    ("faultlab-agent", "get", "daemonsets.apps", NAMESPACE, "another", False),
    ("faultlab-agent", "patch", "daemonsets.apps", NAMESPACE, "faultlab-agent", False),
    ("faultlab-agent", "get", "namespaces", NAMESPACE, NAMESPACE, True),
    ("faultlab-agent", "get", "namespaces", "faultlab", "faultlab", False),
    ("faultlab-agent", "get", "secrets", NAMESPACE, "faultlab-agent", False),
    ("default", "get", "secrets", NAMESPACE, "faultlab-agent", False),
]
"""Account, verb, kind, namespace, name, whether it may."""


@pytest.mark.parametrize("case", NAMED, ids=lambda case: " ".join(map(str, case)))
def test_rights_to_single_objects_end_at_their_names(
    installed: Cluster, case: tuple[str, str, str, str, str, bool]
) -> None:
    account, verb, kind, namespace, name, allowed = case
    assert installed.may(account, verb, kind, namespace=namespace, name=name) is allowed
