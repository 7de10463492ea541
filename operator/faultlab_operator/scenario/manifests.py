"""What a scenario creates: its systems, its load and its faults as whole manifests. Pure."""

from typing import Any

from faultlab_operator.api import API_VERSION, Scenario
from faultlab_operator.api.scenario import SystemManifest
from faultlab_operator.render.common import owner_reference

SCENARIO_LABEL = "faultlab.dev/scenario"


def system_manifest(scenario: Scenario, system: SystemManifest) -> dict[str, Any]:
    """The system as the scenario has it, in the scenario's namespace and owned by it."""
    metadata = system.metadata
    return _owned(
        scenario,
        system.kind,
        metadata.name,
        system.spec.wire(),
        labels=metadata.labels,
        annotations=metadata.annotations,
    )


def load_name(scenario: Scenario) -> str:
    """The LoadTest is called as the system that it loads: its page and pod are found without a look."""
    return scenario.spec.load.system.name


def load_manifest(scenario: Scenario, seed: int) -> dict[str, Any]:
    """The load; what it draws by chance comes from the run's seed where it has none of its own."""
    spec = scenario.spec.load.wire()
    spec.setdefault("seed", seed)
    return _owned(scenario, "LoadTest", load_name(scenario), spec)


def fault_manifest(scenario: Scenario, index: int, name: str, seed: int) -> dict[str, Any]:
    """Entry `index` of the timeline; without a selector it is for the system under load."""
    fault = scenario.spec.timeline[index].fault
    spec = fault.spec.wire()
    spec.setdefault("selector", {"system": scenario.spec.load.system.wire()})
    spec.setdefault("seed", seed + index)
    return _owned(scenario, fault.kind, name, spec)


def _owned(
    scenario: Scenario,
    kind: str,
    name: str,
    spec: dict[str, Any],
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": scenario.metadata.namespace,
        "labels": {
            **(labels or {}),
            "app.kubernetes.io/managed-by": "faultlab",
            SCENARIO_LABEL: scenario.metadata.name,
        },
        "ownerReferences": [owner_reference("Scenario", scenario.metadata)],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
