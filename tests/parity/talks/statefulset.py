"""StatefulSets: pods, claims, revisions and status as they are when all has settled.

No node runs the pods. Where one has to be ready its status is written, as a kubelet would.
"""

from __future__ import annotations

from typing import Any

from parity.conversation import Step, delete, get, json_patch, merge_patch, post, strategic_patch, table, talk
from parity.samples import claim_template, going, template, workload

GONE = {"code": 404}
CATEGORY = "StatefulSet behaviour"
KEPT = "parity.example.dev/kept"


def _set(**spec: Any) -> Step:
    return post("statefulsets", workload("web", serviceName="web", **spec), save={"set": "metadata.uid"})


def _ready(pod: str) -> Step:
    """Writes what a kubelet would about a pod that runs."""
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return strategic_patch(f"pods/{pod}/status", {"status": status})


def _shows(**status: Any) -> Step:
    """The set, when its status is as given."""
    return get("statefulsets/web", until={f"status.{field}": value for field, value in status.items()})


def _pods(count: int) -> Step:
    return get("pods", until={"items.#": count})


def _claims(count: int) -> Step:
    return get("persistentvolumeclaims", until={"items.#": count})


def _scaled(replicas: int) -> Step:
    return merge_patch("statefulsets/web", {"spec": {"replicas": replicas}})


def _image(image: str) -> Step:
    container = {"name": "c", "image": image}
    return strategic_patch("statefulsets/web", {"spec": {"template": {"spec": {"containers": [container]}}}})


ORDERED = talk(
    CATEGORY,
    "one after the other",
    _set(replicas=3),
    _shows(replicas=1, observedGeneration=1),
    _pods(1),
    _ready("web-0"),
    get("pods/web-1", until={"code": 200}),
    _shows(replicas=2, readyReplicas=1),
    _ready("web-1"),
    get("pods/web-2", until={"code": 200}),
    _ready("web-2"),
    _shows(replicas=3, readyReplicas=3, availableReplicas=3),
    table("statefulsets"),
    get("statefulsets/web", save={"revision": "status.currentRevision"}),
    get("controllerrevisions"),
    _scaled(1),
    _pods(1),
    _shows(replicas=1, observedGeneration=2),
    _scaled(0),
    _pods(0),
    _shows(replicas=0, observedGeneration=3),
)
PARALLEL = talk(
    CATEGORY,
    "all at once",
    _set(replicas=3, podManagementPolicy="Parallel"),
    _shows(replicas=3),
    _pods(3),
    _ready("web-1"),
    _shows(readyReplicas=1),
    _scaled(1),
    _pods(1),
    _shows(replicas=1, observedGeneration=2),
    delete("statefulsets/web?propagationPolicy=Foreground"),
    get("statefulsets/web", until=GONE),
    _pods(0),
)
NUMBERS = talk(
    CATEGORY,
    "numbers that begin later",
    _set(replicas=2, podManagementPolicy="Parallel", ordinals={"start": 5}),
    _shows(replicas=2),
    get("pods?labelSelector=apps.kubernetes.io/pod-index=6", until={"items.#": 1}),
    merge_patch("statefulsets/web", {"spec": {"ordinals": {"start": 6}}}),
    get("pods/web-7", until={"code": 200}),
    get("pods/web-5", until=GONE),
    _shows(replicas=2, observedGeneration=2),
)
CLAIMS = talk(
    CATEGORY,
    "claims stay",
    _set(
        replicas=2,
        podManagementPolicy="Parallel",
        volumeClaimTemplates=[
            {
                **claim_template("data"),
                "metadata": {"name": "data", "labels": {"a": "b"}, "annotations": {"c": "d"}},
            }
        ],
    ),
    _claims(2),
    _shows(replicas=2),
    _pods(2),
    _scaled(1),
    _pods(1),
    _shows(replicas=1, observedGeneration=2),
    _claims(2),
    delete("statefulsets/web"),
    get("statefulsets/web", until=GONE),
    _pods(0),
    _claims(2),
)
CLAIMS_GO = talk(
    CATEGORY,
    "claims go",
    _set(
        replicas=2,
        podManagementPolicy="Parallel",
        volumeClaimTemplates=[claim_template()],
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Delete"},
    ),
    _shows(replicas=2),
    get("persistentvolumeclaims/data-web-0", until={"metadata.ownerReferences.#": 1}),
    get("persistentvolumeclaims/data-web-1", until={"metadata.ownerReferences.#": 1}),
    _scaled(1),
    _pods(1),
    get("persistentvolumeclaims/data-web-1", until=GONE),
    get("persistentvolumeclaims/data-web-0", until={"metadata.ownerReferences.#": 1}),
    delete("statefulsets/web"),
    _claims(0),
)
CLAIMS_CHANGE = talk(
    CATEGORY,
    "claims change hands",
    _set(replicas=1, volumeClaimTemplates=[claim_template()]),
    _claims(1),
    _shows(replicas=1),
    merge_patch(
        "statefulsets/web", {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}
    ),
    get("persistentvolumeclaims/data-web-0", until={"metadata.ownerReferences.#": 1}),
    _shows(observedGeneration=2),
    merge_patch(
        "statefulsets/web", {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}}
    ),
    get("persistentvolumeclaims/data-web-0", until={"metadata.ownerReferences": None}),
)
ROLLING = talk(
    CATEGORY,
    "a rolling update",
    _set(replicas=2, podManagementPolicy="Parallel"),
    _shows(replicas=2),
    _ready("web-0"),
    _ready("web-1"),
    _shows(readyReplicas=2, currentReplicas=2),
    get("statefulsets/web", save={"first": "status.currentRevision"}),
    get("controllerrevisions/${first}"),
    _image("i:2"),
    get("pods/web-1", until={"spec.containers.0.image": "i:2"}),
    _shows(updatedReplicas=1, observedGeneration=2),
    get("pods/web-0"),
    _ready("web-1"),
    get("pods/web-0", until={"spec.containers.0.image": "i:2"}),
    _ready("web-0"),
    _shows(updatedReplicas=2, readyReplicas=2, currentReplicas=2),
    get("statefulsets/web", save={"second": "status.currentRevision"}),
    get("controllerrevisions/${second}"),
    get("controllerrevisions/${first}"),
    _image("i:1"),
    get("pods/web-1", until={"spec.containers.0.image": "i:1"}),
    _shows(updatedReplicas=1, observedGeneration=3),
    get("controllerrevisions/${first}"),
    get("controllerrevisions/${second}"),
)
PARTITION = talk(
    CATEGORY,
    "a partition",
    _set(
        replicas=2,
        podManagementPolicy="Parallel",
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
    ),
    _shows(replicas=2),
    _ready("web-0"),
    _ready("web-1"),
    _shows(readyReplicas=2),
    _image("i:2"),
    get("pods/web-1", until={"spec.containers.0.image": "i:2"}),
    _ready("web-1"),
    _shows(updatedReplicas=1, readyReplicas=2, currentReplicas=1),
    delete("pods/web-0"),
    get("pods/web-0", until={"code": 200, "spec.containers.0.image": "i:1"}),
    _pods(2),
)
ON_DELETE = talk(
    CATEGORY,
    "updates on deletion",
    _set(replicas=2, podManagementPolicy="Parallel", updateStrategy={"type": "OnDelete"}),
    _shows(replicas=2),
    _ready("web-0"),
    _ready("web-1"),
    _shows(readyReplicas=2),
    _image("i:2"),
    _shows(observedGeneration=2),
    get("pods/web-0"),
    delete("pods/web-0"),
    get("pods/web-0", until={"spec.containers.0.image": "i:2"}),
    _shows(updatedReplicas=1, replicas=2, readyReplicas=1),
    get("pods/web-1"),
)
AGAIN = talk(
    CATEGORY,
    "a deleted pod comes again",
    _set(replicas=2, podManagementPolicy="Parallel", volumeClaimTemplates=[claim_template()]),
    _shows(replicas=2),
    get("pods/web-1", save={"first": "metadata.uid"}),
    delete("pods/web-1"),
    get("pods/web-1", until={"code": 200}),
    _shows(replicas=2, currentReplicas=2, updatedReplicas=2),
    merge_patch("pods/web-0", {"metadata": {"finalizers": [KEPT]}}),
    delete("pods/web-0"),
    get("pods/web-0", until=going),
    _shows(replicas=2, currentReplicas=1),
    merge_patch("pods/web-0", {"metadata": {"finalizers": None}}),
    get("pods/web-0", until={"code": 200, "metadata.deletionTimestamp": None}),
    strategic_patch("pods/web-0/status", {"status": {"phase": "Failed"}}),
    get("pods/web-0", until={"code": 200, "status.phase": "Pending"}),
    _claims(2),
)
ADOPTION = talk(
    CATEGORY,
    "adoption",
    _set(replicas=2, podManagementPolicy="Parallel"),
    _shows(replicas=2),
    get("statefulsets/web", save={"revision": "status.currentRevision"}),
    get("pods/web-0", save={"adopted": "metadata.uid"}),
    delete("statefulsets/web?propagationPolicy=Orphan"),
    get("statefulsets/web", until=GONE),
    get("pods"),
    get("controllerrevisions"),
    post("statefulsets", workload("web", serviceName="web", replicas=2, podManagementPolicy="Parallel")),
    get("pods/web-1", until={"metadata.ownerReferences.#": 1}),
    get("pods/web-0", until={"metadata.ownerReferences.#": 1}),
    _shows(replicas=2),
    get("controllerrevisions"),
    merge_patch("pods/web-1", {"metadata": {"labels": {"app": "other"}}}),
    get("pods/web-1", until={"metadata.ownerReferences": None}),
    _shows(replicas=1),
)
REFUSED = talk(
    CATEGORY,
    "what cannot be",
    _set(replicas=0, volumeClaimTemplates=[claim_template()]),
    _shows(observedGeneration=1),
    merge_patch("statefulsets/web", {"spec": {"serviceName": "other"}}),
    merge_patch("statefulsets/web", {"spec": {"podManagementPolicy": "Parallel"}}),
    merge_patch("statefulsets/web", {"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
    json_patch(
        "statefulsets/web",
        {
            "op": "replace",
            "path": "/spec/volumeClaimTemplates/0/spec/resources/requests/storage",
            "value": "2Mi",
        },
    ),
    merge_patch("statefulsets/web", {"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}}),
    merge_patch("statefulsets/web", {"spec": {"revisionHistoryLimit": 3, "minReadySeconds": 1}}),
    _shows(observedGeneration=2),
    merge_patch("statefulsets/web", {"spec": {"replicas": -1}}),
    merge_patch("statefulsets/web", {"spec": {"updateStrategy": {"type": "Never"}}}),
    merge_patch("statefulsets/web", {"spec": {"updateStrategy": {"rollingUpdate": {"partition": -1}}}}),
    merge_patch("statefulsets/web", {"spec": {"updateStrategy": {"type": "OnDelete"}}}),
    merge_patch(
        "statefulsets/web", {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}}}
    ),
    merge_patch("statefulsets/web", {"spec": {"ordinals": {"start": -1}}}),
    post("statefulsets", workload("bad", podManagementPolicy="Sometimes")),
    post("statefulsets", workload("bad", selector={"matchLabels": {"app": "other"}})),
    post("statefulsets", workload("bad", selector={})),
    post("statefulsets", {"metadata": {"name": "bad"}, "spec": {"template": template()}}),
    post("statefulsets", {"metadata": {"name": "bad"}, "spec": {"selector": {"matchLabels": {"a": "b"}}}}),
    post("statefulsets", workload("bad", template=template(restartPolicy="Never"))),
    post("statefulsets", workload("bad", template=template(containers=[]))),
    post("statefulsets", workload("bad", template=template(activeDeadlineSeconds=5))),
    post("statefulsets", workload("bad", volumeClaimTemplates=[{"metadata": {"name": "d"}, "spec": {}}])),
    post("statefulsets", workload("bad", volumeClaimTemplates=[claim_template("A!")])),
    post("statefulsets", workload("Bad.Name")),
    post("statefulsets", workload("a.b")),
    post("statefulsets", workload("bad", serviceName="Not A Name")),
    post("statefulsets", {"metadata": {"name": "bad"}}),
    post("statefulsets", workload("web")),
)
SCALE = talk(
    CATEGORY,
    "the scale subresource",
    _set(replicas=1),
    _shows(replicas=1),
    get("statefulsets/web/scale", save={"version": "metadata.resourceVersion"}),
    merge_patch("statefulsets/web/scale", {"spec": {"replicas": 2}}),
    merge_patch("statefulsets/web/scale", {"spec": {"replicas": -1}}),
    merge_patch("statefulsets/web/scale", {"spec": {"replicas": "two"}}),
    Step(
        "PUT",
        "statefulsets/web/scale",
        {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "web", "namespace": "${ns}", "resourceVersion": "${version}"},
            "spec": {"replicas": 5},
        },
    ),
    Step(
        "PUT",
        "statefulsets/web/scale",
        {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "web", "namespace": "${ns}"},
            "spec": {"replicas": 0},
        },
    ),
    _shows(replicas=0, observedGeneration=3),
    get("statefulsets/web/scale"),
    get("statefulsets/none/scale"),
    delete("statefulsets/web/scale"),
)
STATUS = talk(
    CATEGORY,
    "the status subresource",
    _set(replicas=0),
    _shows(observedGeneration=1),
    merge_patch("statefulsets/web", {"status": {"replicas": 9}, "spec": {"replicas": 0}}),
    merge_patch("statefulsets/web/status", {"status": {"replicas": -1}}),
    merge_patch("statefulsets/web/status", {"status": {"replicas": 1, "readyReplicas": 2}}),
    get("statefulsets/web/status", until={"status.replicas": 0}),
    delete("statefulsets/web/status"),
)
CONVERSATIONS = [
    ORDERED,
    PARALLEL,
    NUMBERS,
    CLAIMS,
    CLAIMS_GO,
    CLAIMS_CHANGE,
    ROLLING,
    PARTITION,
    ON_DELETE,
    AGAIN,
    ADOPTION,
    REFUSED,
    SCALE,
    STATUS,
]
