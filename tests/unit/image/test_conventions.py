"""What Dockerfile, kind configuration, chart and doctor promise one another."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import faultlab
from faultlab_cli.doctor import programs

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
KIND: dict[str, Any] = yaml.safe_load((ROOT / "charts/kind.yaml").read_text())
KIND_VALUES: dict[str, Any] = yaml.safe_load((ROOT / "charts/kind-values.yaml").read_text())
SCRIPT = (ROOT / "charts/kind.sh").read_text()


def instructions() -> list[str]:
    """One line for each, comments left out, continuations joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def setting(name: str) -> str:
    found = re.search(rf"^{name}=(\S+)$", SCRIPT, re.M)
    assert found, f"charts/kind.sh sets no {name}"
    return found[1]


def test_the_dockerfile_asks_nothing_of_buildkit() -> None:
    assert "--mount" not in DOCKERFILE
    assert "<<" not in DOCKERFILE
    assert "# syntax=" not in DOCKERFILE
    assert not [
        line for line in instructions() if re.search(r"^(COPY|ADD) .*--(link|chmod|parents|exclude)", line)
    ]


def test_the_final_stage_is_not_root_and_says_what_it_is() -> None:
    final = instructions()[max(i for i, line in enumerate(instructions()) if line.startswith("FROM")) :]
    users = [line.split()[1] for line in final if line.startswith("USER")]
    assert users == ["65532:65532"]
    assert not [line for line in final if line.startswith(("ENTRYPOINT", "RUN", "ADD"))]
    labels = " ".join(line for line in final if line.startswith("LABEL"))
    for name in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{name}=" in labels


def test_what_is_installed_is_held_by_hashes() -> None:
    installs = re.findall(r"pip[^&]*? install [^&]*", " ".join(instructions()))
    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)


def test_the_context_is_what_the_dockerfile_copies_and_no_more() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert all((ROOT / path).exists() for path in allowed)
    sources = [line.split()[1:-1] for line in instructions() if re.match(r"COPY (?!--from)", line)]
    copied = {path for paths in sources for path in paths}
    assert {path.split("/")[0] for path in allowed} == copied
    listed = re.search(r'^IMAGE_SOURCES="([^"]*)"', SCRIPT, re.M)
    assert listed, "charts/kind.sh sets no IMAGE_SOURCES"
    assert set(listed[1].split()) == allowed | {"Dockerfile", ".dockerignore"}


def test_kinds_nodes_are_one_control_plane_and_three_workers_of_one_image_by_digest() -> None:
    assert [node["role"] for node in KIND["nodes"]] == ["control-plane", "worker", "worker", "worker"]
    images = {node["image"] for node in KIND["nodes"]}
    assert len(images) == 1
    assert re.fullmatch(r"kindest/node:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}", images.pop())


def test_kinds_ports_lead_to_the_charts_and_only_this_machine_reaches_them() -> None:
    mappings = KIND["nodes"][0]["extraPortMappings"]
    assert {m["listenAddress"] for m in mappings} == {"127.0.0.1"}
    service = KIND_VALUES["pages"]["service"]
    assert service["type"] == "NodePort"
    node_ports = service["nodePorts"]
    assert {m["hostPort"]: m["containerPort"] for m in mappings} == {
        8080: node_ports["pages"],
        8089: node_ports["locust"],
    }
    assert not [node for node in KIND["nodes"][1:] if "extraPortMappings" in node]


def test_script_doctor_and_kind_configuration_name_the_same_versions() -> None:
    assert setting("KIND_VERSION") == programs._KIND_VERSION
    assert f"kind {programs._KIND_VERSION} " in (ROOT / "charts/kind.yaml").read_text()
    assert setting("KUBECTL_VERSION") == programs._KUBECTL_VERSION
    node = re.search(r":(v[0-9.]+)@", KIND["nodes"][0]["image"])
    assert node, "the node image has no version"
    assert node[1] == programs._KUBECTL_VERSION


def test_the_chart_installs_the_image_that_is_built() -> None:
    chart = yaml.safe_load((ROOT / "charts/faultlab/Chart.yaml").read_text())
    values = yaml.safe_load((ROOT / "charts/faultlab/values.yaml").read_text())
    assert chart["appVersion"] == faultlab.__version__
    assert f"IMAGE={values['image']['repository']}:$VERSION" in SCRIPT
    assert not values["image"]["tag"]
    assert values["image"]["pullPolicy"] == "IfNotPresent"


@pytest.mark.parametrize("name", ["kind.sh", "kind-logs.sh"])
def test_the_scripts_name_no_other_machine(name: str) -> None:
    text = (ROOT / "charts" / name).read_text()
    assert "kindbed" not in text
    assert "--network" not in text
