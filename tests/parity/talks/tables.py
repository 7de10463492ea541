"""Tables, as `kubectl get` asks for them."""

from parity.conversation import TABLE, get, merge_patch, post, table, talk
from parity.declared import Match, declared
from parity.objects import configmap, pod, service, widget, workload

OLD_TABLE = r"Table/of old and unknown versions: GET widgets"

CONVERSATIONS = [
    talk(
        "Table",
        "of built-in kinds",
        post("pods", pod("a", labels={"app": "x"})),
        post("services", service("s")),
        post("configmaps", configmap("c", {"k": "v"}, labels={"mine": ""})),
        post("secrets", {"metadata": {"name": "s"}, "stringData": {"k": "v"}}),
        post("leases", {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}}),
        table("pods"),
        table("pods/a"),
        table("services"),
        table("configmaps?labelSelector=mine"),
        table("secrets"),
        table("leases"),
        table("serviceaccounts"),
        table("/api/v1/namespaces/${ns}"),
        table("networkpolicies"),
        table("poddisruptionbudgets"),
        table("roles"),
        table("rolebindings"),
        table("jobs"),
        table("controllerrevisions"),
        table("persistentvolumeclaims"),
        table("endpointslices?labelSelector=nothing"),
        table("/apis/storage.k8s.io/v1/storageclasses?labelSelector=nothing"),
        table("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.parity.example.dev"),
        table("/api/v1/nodes?labelSelector=nothing"),
    ),
    talk(
        "Table",
        "of workloads",
        post("statefulsets", workload("StatefulSet", "s")),
        post("deployments", workload("Deployment", "d")),
        post("replicasets", workload("ReplicaSet", "r")),
        table("statefulsets"),
        # Its revision is the controller's to write.
        table("deployments", until=lambda _, body: "annotations" in body["rows"][0]["object"]["metadata"]),
        table("replicasets/r"),
        table("daemonsets"),
        post(
            "poddisruptionbudgets",
            {
                "metadata": {"name": "b"},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "s"}}},
            },
        ),
        table("poddisruptionbudgets"),
    ),
    talk(
        "Table",
        "of pods in every phase",
        post("pods", pod("p")),
        *(
            step
            for phase in ("Running", "Succeeded", "Failed")
            for step in (
                merge_patch("pods/p/status", {"status": {"phase": phase, "reason": None}}),
                table("pods/p"),
            )
        ),
        merge_patch("pods/p/status", {"status": {"phase": "Failed", "reason": "Evicted"}}),
        table("pods/p"),
        post("pods", pod("q", initContainers=[{"name": "i", "image": "i:1"}])),
        merge_patch(
            "pods/q/status",
            {
                "status": {
                    "phase": "Pending",
                    "podIP": "10.1.2.3",
                    "podIPs": [{"ip": "10.1.2.3"}],
                    "initContainerStatuses": [
                        {
                            "name": "i",
                            "image": "i:1",
                            "imageID": "",
                            "ready": False,
                            "restartCount": 2,
                            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        }
                    ],
                }
            },
        ),
        table("pods/q"),
        merge_patch(
            "pods/q/status",
            {
                "status": {
                    "phase": "Running",
                    "initContainerStatuses": None,
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [
                        {
                            "name": "c",
                            "image": "i:1",
                            "imageID": "",
                            "ready": True,
                            "restartCount": 1,
                            "state": {"running": {}},
                        }
                    ],
                }
            },
        ),
        table("pods/q"),
    ),
    talk(
        "Table",
        "of custom resources",
        post("widgets", widget("a", {"size": 3, "colour": "red"})),
        post("widgets", widget("b")),
        merge_patch("widgets/a/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        table("widgets"),
        table("widgets/a"),
        table("widgets?limit=1"),
        table("widgets?includeObject=None"),
        table("widgets?includeObject=Object"),
        table("widgets?includeObject=Nonsense"),
        table("widgets/none"),
        get("widgets", accept="application/json;as=Table;v=v9;g=meta.k8s.io"),
        get("widgets", accept=f"application/json;as=Table;v=v9;g=meta.k8s.io,{TABLE},application/json"),
        post("widgets", widget("c", {"size": 1}), accept=TABLE),
        merge_patch("widgets/c", {"spec": {"size": 2}}, accept=TABLE),
    ),
    talk(
        "Table",
        "of old and unknown versions",
        get("widgets", accept="application/json;as=Table;v=v1beta1;g=meta.k8s.io"),
    ),
]

DECLARED = [
    declared(
        "column-descriptions",
        "columns of built-in kinds have no description: no client shows them",
        Match(
            r"body.*\.columnDefinitions\[.*\]\.description",
            embedded='""|"The object\'s name"',
            real='".+"',
        ),
    ),
    declared(
        "empty-table",
        "a table without rows has `[]`, where kube-apiserver has null for a few kinds",
        Match(r"body\.rows", r"\[\]", "null", r"Table/of built-in kinds: GET roles"),
    ),
    declared(
        "table-v1beta1",
        "tables are meta.k8s.io/v1 only; v1beta1 is deprecated, and clients that ask for it take v1 too",
        Match(r"code", "406", "200", steps=OLD_TABLE),
        Match(
            r"body\.(apiVersion|code|columnDefinitions|kind|message|metadata\..*|reason|rows|status)",
            steps=OLD_TABLE,
        ),
    ),
]
