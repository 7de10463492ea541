"""What must be there before a scenario is created, so that a run fails with a sentence and not with time."""

from collections.abc import Callable

from faultlab_cli import refusals
from faultlab_cli.errors import CliError
from faultlab_cli.kube import ApiError, Document, Kube
from faultlab_cli.operator_pod import OperatorPod

CHAOS_LABEL = "faultlab.dev/chaos"
NAMESPACE_LABELS = {CHAOS_LABEL: "enabled", "pod-security.kubernetes.io/enforce": "restricted"}
"""Of a namespace that a run makes: those that the chart gives to the systems' namespaces."""
SCENARIO_KINDS = "/apis/faultlab.dev/v1alpha1"


def prepare(kube: Kube, operator: OperatorPod, namespace: str, tell: Callable[[str], None]) -> None:
    """Checks CRDs, operator and namespace, which is made where there is none; raises CliError."""
    try:
        kube.get(SCENARIO_KINDS)
    except ApiError as error:
        if error.http_status != 404:
            raise
        raise CliError(refusals.not_installed(kube.origin, "scenarios.faultlab.dev")) from error
    served = operator.await_ready(tell)
    if served and namespace not in served:
        raise CliError(
            f"the operator serves the namespaces {', '.join(served)}, not {namespace}: use one of these "
            "with -n, or add it to the chart's value operator.watchNamespaces"
        )
    _ensure_namespace(kube, namespace)


def _ensure_namespace(kube: Kube, namespace: str) -> None:
    """A user who may not look at namespaces is not stopped: the operator says later what is missing."""
    try:
        found = kube.find(f"/api/v1/namespaces/{namespace}")
    except ApiError as error:
        if error.http_status == 403:
            return
        raise
    if found is None:
        kube.request("POST", "/api/v1/namespaces", json=_namespace(namespace))
        return
    metadata = found["metadata"]
    if "deletionTimestamp" in metadata:
        raise CliError(f"namespace {namespace} is being deleted: wait, or use another with -n")
    if metadata.get("labels", {}).get(CHAOS_LABEL) != "enabled":
        raise CliError(
            f"namespace {namespace} is not open to faults: it lacks the label {CHAOS_LABEL}=enabled; "
            f"`kubectl label namespace {namespace} {CHAOS_LABEL}=enabled`, or use another with -n"
        )


def _namespace(name: str) -> Document:
    metadata = {"name": name, "labels": NAMESPACE_LABELS}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
