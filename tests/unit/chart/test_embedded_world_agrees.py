"""Operator and agent of the embedded world are those of the chart, but for what is listed with its reason."""

from typing import Any

import pytest
from chart_lab import Object, one, render

from faultlab_cli import lab

DEFAULT = "the program's default, which the chart writes out as a value"
BROWSERS = "where browsers reach it: the chart cannot know, the embedded world does"
LIMITS = "the embedded world has no limits to give and no need to be confined: it is confined as a whole"

OPERATOR_DIFFERS = {
    "env FAULTLAB_WORLD": "a label for verdicts",
    "env FAULTLAB_NAMESPACES": "empty in the chart: all namespaces, as without it",
    "env FAULTLAB_PAGES_URL": BROWSERS,
    "env FAULTLAB_LOCUST_URL": BROWSERS,
    "env FAULTLAB_DATA_DIR": DEFAULT,
    "env FAULTLAB_HTTP_PORT": DEFAULT,
    "env FAULTLAB_LOCUST_PORT": DEFAULT,
    "env FAULTLAB_KEEP_RUNS": DEFAULT,
    "env FAULTLAB_KEEP_BYTES": DEFAULT,
    "env FAULTLAB_KEEP_AGE": DEFAULT,
    "liveness": "the embedded world's operator is restarted when it ends, and has no node to be stuck on",
    "resources": LIMITS,
    "security": LIMITS,
    "pod security": LIMITS,
    "service links": "the embedded world has none",
}
AGENT_DIFFERS = {
    "command": "the runtime's directory is the world's own, and nobody comes after a static pod",
    "env NODE_NAME": "for the log; there is one node",
    "env POD_NAME": "for asking whether another agent comes, which no static pod's does",
    "env POD_NAMESPACE": "likewise",
    "mount /run/containerd": "containerd's",
    "mount /run/faultlab/containers": "the embedded node's",
    "port http": "told to schedulers, of which there is none",
    "liveness": "the embedded world's agent is restarted when it ends",
    "dnsPolicy": "the agent looks no name up in the embedded world",
    "grace": "asking takes up to a second more",
    "tolerations": "there are no taints",
    "resources": LIMITS,
    "security": LIMITS,
    "service links": "the embedded world has none",
}


def facts(pod: Object) -> dict[str, Any]:
    """What matters of a pod or a pod's template, flat."""
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    assert len(spec["containers"]) == 1
    labels = pod["metadata"]["labels"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    security = dict(container.get("securityContext", {}))
    probe = container["readinessProbe"]["httpGet"]
    found = {
        "name": labels["app.kubernetes.io/name"],
        "part of": labels["app.kubernetes.io/part-of"],
        "account": spec["serviceAccountName"],
        "grace": spec["terminationGracePeriodSeconds"],
        "node's network": spec.get("hostNetwork", False),
        "node's processes": spec.get("hostPID", False),
        "dnsPolicy": spec.get("dnsPolicy"),
        "tolerations": spec.get("tolerations"),
        "service links": spec.get("enableServiceLinks"),
        "pod security": spec.get("securityContext"),
        "image": container["image"],
        "command": container["command"],
        "ready at": (probe["path"], ports.get(probe["port"], probe["port"])),
        "liveness": container.get("livenessProbe"),
        "resources": container.get("resources"),
        "privileged": security.pop("privileged", False),
        "security": security,
    }
    found |= {f"env {item['name']}": item.get("value", item.get("valueFrom")) for item in container["env"]}
    found |= {f"port {name}": port for name, port in ports.items()}
    for mount in container["volumeMounts"]:
        volume = {key: value for key, value in volumes[mount["name"]].items() if key != "name"}
        found[f"mount {mount['mountPath']}"] = (mount.get("readOnly", False), volume)
    return found


def ignoring_defaults(found: dict[str, Any]) -> dict[str, Any]:
    """Without what is said in one place and left out in another."""
    for name, (read_only, volume) in [
        (name, value) for name, value in found.items() if name.startswith("mount ")
    ]:
        if "hostPath" in volume:
            found[name] = (read_only, {"hostPath": {"path": volume["hostPath"]["path"]}})
    return found


@pytest.mark.parametrize(
    ("kind", "name", "embedded", "differs"),
    [
        ("Deployment", "faultlab-operator", lab.operator_pod("http://127.0.0.1:1"), OPERATOR_DIFFERS),
        ("DaemonSet", "faultlab-agent", {**lab.agent_pod()}, AGENT_DIFFERS),
    ],
    ids=["operator", "agent"],
)
def test_pod_is_the_charts_but_for_what_is_listed(
    kind: str, name: str, embedded: Object, differs: dict[str, str]
) -> None:
    embedded["spec"]["containers"][0].setdefault("env", [])
    chart, ours = facts(one(render(), kind, name)["spec"]["template"]), facts(embedded)
    chart, ours = ignoring_defaults(chart), ignoring_defaults(ours)
    different = {key for key in chart.keys() | ours.keys() if chart.get(key) != ours.get(key)}
    assert different == set(differs)


def test_an_agent_of_the_embedded_world_is_told_nothing_that_the_charts_is_not() -> None:
    chart = one(render(), "DaemonSet", "faultlab-agent")["spec"]["template"]["spec"]["containers"][0]
    ours = lab.agent_pod()["spec"]["containers"][0]
    assert chart["command"] == ["faultlab-agent", "--at-end", "ask", "--node", "$(NODE_NAME)"]
    assert ours["command"] == ["faultlab-agent", "--runtime-root", lab.RUNTIME_ROOT]


def test_both_install_the_same_kinds_accounts_and_namespaces() -> None:
    chart = [each for each in render() if "helm.sh/hook" not in each["metadata"].get("annotations", {})]
    for ours in lab.objects():
        kind, metadata = ours["kind"], ours["metadata"]
        if kind == "Namespace" and metadata["name"] == lab.SYSTEM_NAMESPACE:
            continue  # made by whoever installs the chart, see NOTES.txt
        theirs = one(chart, kind, metadata["name"])
        assert theirs["metadata"].get("namespace") == metadata.get("namespace")
        assert theirs.get("spec") == ours.get("spec")
        if kind == "Namespace":
            assert theirs["metadata"]["labels"].items() >= metadata["labels"].items()
