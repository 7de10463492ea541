"""Kubernetes' own API server, deciding by roles, with the chart installed by Helm."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chart_cluster import Cluster
from chart_lab import program
from real_api import RealApi, find_programs


def _start(folder: Path) -> RealApi:
    programs = find_programs()
    if programs is None:
        assert "KINDBED_CACHE" not in os.environ, "the test bed is to have kube-apiserver and etcd"
        pytest.skip("no kube-apiserver and etcd: set KUBE_APISERVER and ETCD, or put them on the PATH")
    program("helm")
    return RealApi(folder, programs, rbac=True)


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One server for all tests; those that install the chart leave it installed with its default values."""
    folder = tmp_path_factory.mktemp("chart")
    api = _start(folder)
    try:
        api.await_server()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(api.kubeconfig())
        cluster = Cluster(api, kubeconfig)
        api.until(lambda: cluster.api.request("GET", "/api/v1/namespaces/kube-system")[0] == 200)
        # The roles that every cluster has; until they are there, nobody finds out what there is.
        role = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:discovery"
        api.until(lambda: cluster.api.request("GET", role)[0] == 200)
        yield cluster
    finally:
        api.stop()


@pytest.fixture(scope="package")
def installed(cluster: Cluster) -> Cluster:
    """With the chart in it, default values; tests that change that change it back."""
    cluster.install()
    return cluster
