"""A CRD that goes while there are objects of its kind."""

from parity.conversation import delete, get, merge_patch, post, talk
from parity.declared import Match, declared

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GADGETS = "/apis/gone.parity.example.dev/v1/namespaces/${ns}/gadgets"
CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "gadgets.gone.parity.example.dev"},
    "spec": {
        "group": "gone.parity.example.dev",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "kind": "Gadget"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


def gadget(name: str, *finalizers: str) -> dict[str, object]:
    meta = {"name": name, **({"finalizers": list(finalizers)} if finalizers else {})}
    return {"apiVersion": "gone.parity.example.dev/v1", "kind": "Gadget", "metadata": meta}


CONVERSATIONS = [
    talk(
        "deletion with finalizers",
        "of a CRD with objects",
        post(DEFINITIONS, CRD),
        get("/apis/gone.parity.example.dev/v1/gadgets", until={"code": 200}),
        post(GADGETS, gadget("held", "example.dev/x")),
        post(GADGETS, gadget("free")),
        delete(f"{DEFINITIONS}/gadgets.gone.parity.example.dev"),
        get(f"{GADGETS}/free", until={"code": 404}),
        get(f"{GADGETS}/held", until=lambda _, body: "deletionTimestamp" in body["metadata"]),
        post(GADGETS, gadget("late")),
        merge_patch(f"{GADGETS}/held", {"metadata": {"finalizers": None}}),
        get(f"{DEFINITIONS}/gadgets.gone.parity.example.dev", until={"code": 404}),
        get(GADGETS, until={"code": 404}),
        cleanup=(f"{DEFINITIONS}/gadgets.gone.parity.example.dev",),
    ),
]

OF_A_CRD = r"deletion with finalizers/of a CRD with objects: "

DECLARED = [
    declared(
        "established-at-once",
        "a CRD's names are accepted and its kind is served as soon as it is stored",
        Match(
            r"body\.status\.(acceptedNames\.(kind|listKind|plural|singular)|conditions)",
            steps=OF_A_CRD + "POST .*",
        ),
    ),
    declared(
        "crd-cleanup",
        "a CRD that is deleted goes with its last object, without a finalizer; that counts as a generation, "
        "and its condition says at once that the objects are being deleted",
        Match(
            r"body\.metadata\.finalizers",
            "<missing>",
            r'\["customresourcecleanup\.apiextensions\.k8s\.io"\]',
            OF_A_CRD + "DELETE .*",
        ),
        Match(r"body\.metadata\.generation", "2", "1", OF_A_CRD + "DELETE .*"),
        Match(
            r"body\.status\.conditions\[Terminating\]\.(message|reason)",
            '"(CustomResource deletion is in progress|InstanceDeletionInProgress)"',
            '"(.* will begin soon|InstanceDeletionPending)"',
            OF_A_CRD + "DELETE .*",
        ),
    ),
]
