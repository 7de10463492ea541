"""Grafana's dashboards show metrics that members really have, by labels that Prometheus really sets."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from chart_lab import CHART, NAMESPACE, one, render
from prometheus_client.parser import text_string_to_metric_families

from faultlab.contract.member import PeerAddress, RaftConfig
from faultlab.raft.member import RaftMember

DASHBOARDS = sorted((CHART / "files" / "dashboards").glob("*.json"))
BY_PROMETHEUS = {"namespace", "pod"}
"""Labels that its operator gives to everything that a PodMonitor finds."""


async def exposed(folder: Path) -> set[str]:
    """The names of all samples of a member's /metrics."""
    config = RaftConfig(cluster="c", members=(PeerAddress("c-0", "127.0.0.1"),), data_dir=str(folder))
    text = (await RaftMember(config, "c-0", "127.0.0.1").metrics()).decode()
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def queries(dashboard: dict[str, Any]) -> list[str]:
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    variables = [item["definition"] for item in dashboard["templating"]["list"] if item["type"] == "query"]
    return panels + variables


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_metric_of_the_dashboard_is_one_of_a_members(file: Path, tmp_path: Path) -> None:
    shown = {
        name for query in queries(json.loads(file.read_text())) for name in re.findall(r"faultlab_\w+", query)
    }
    assert shown
    assert shown <= asyncio.run(exposed(tmp_path))


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_label_of_the_dashboard_is_set_by_prometheus_or_the_pod_monitor(file: Path) -> None:
    monitor = one(render({"podMonitor": {"enabled": True}}), "PodMonitor", "faultlab-members")
    endpoint = monitor["spec"]["podMetricsEndpoints"][0]
    ours = {rule["targetLabel"] for rule in endpoint["relabelings"]}
    text = file.read_text()
    named = set(re.findall(r"(\w+)=\\\"\$", text)) | set(re.findall(r"\{\{(\w+)\}\}", text))
    assert named <= BY_PROMETHEUS | ours
    assert named >= ours


def test_panels_have_titles_words_and_places_of_their_own() -> None:
    for file in DASHBOARDS:
        panels = json.loads(file.read_text())["panels"]
        assert all(panel["title"] and panel["description"] for panel in panels)
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in panels)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells)), "panels lie over each other"


def test_dashboards_are_config_maps_for_the_sidecar_when_wanted() -> None:
    objects = render({"dashboards": {"enabled": True, "labels": {"grafana_dashboard": "yes"}}})
    for file in DASHBOARDS:
        config = one(objects, "ConfigMap", f"faultlab-dashboard-{file.stem}", NAMESPACE)
        assert config["metadata"]["labels"]["grafana_dashboard"] == "yes"
        assert json.loads(config["data"][file.name]) == json.loads(file.read_text())


def test_pod_monitor_finds_members_by_the_port_and_labels_that_they_have() -> None:
    from faultlab_operator.api import RaftCluster
    from faultlab_operator.render.raftcluster import raft_children

    cluster = RaftCluster.parse({"metadata": {"name": "c", "namespace": "n", "uid": "u"}, "spec": {}})
    template = one(raft_children(cluster, "image"), "StatefulSet", "c")["spec"]["template"]
    spec = one(render({"podMonitor": {"enabled": True}}), "PodMonitor", "faultlab-members")["spec"]
    assert template["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    assert spec["podMetricsEndpoints"][0]["port"] in ports
