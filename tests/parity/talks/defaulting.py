"""What servers fill in where an object says nothing. All of it is asked with dryRun: nothing is started."""

from __future__ import annotations

from parity.conversation import apply, get, merge_patch, post, put, talk
from parity.declared import Match, declared
from parity.samples import claim_template, crd, custom, pod_spec, template, workload

PROBED = {
    "name": "probed",
    "image": "registry.invalid/with.port:5000/i@sha256:" + "0" * 64,
    "ports": [{"containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
    "livenessProbe": {"httpGet": {"port": 80}},
    "readinessProbe": {"tcpSocket": {"port": "dns"}, "periodSeconds": 3},
    "startupProbe": {"grpc": {"port": 81}},
    "lifecycle": {"preStop": {"httpGet": {"port": 80}}, "postStart": {"exec": {"command": ["x"]}}},
    "env": [
        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "C", "value": "c"},
        {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
    ],
    "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "100m"}},
}
VOLUMES = [
    {"name": "nothing"},
    {"name": "dir", "emptyDir": {"medium": "Memory", "sizeLimit": "2048Ki"}},
    {"name": "map", "configMap": {"name": "m"}},
    {"name": "secret", "secret": {"secretName": "s", "items": [{"key": "k", "path": "p"}]}},
    {"name": "host", "hostPath": {"path": "/x"}},
    {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
    {"name": "down", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    {
        "name": "all",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                {"configMap": {"name": "m"}},
            ]
        },
    },
]


def _pod(name: str, **spec: object) -> object:
    return {"metadata": {"name": name}, "spec": pod_spec(**spec)}


PODS = talk(
    "defaulting",
    "pods",
    post("pods?dryRun=All", _pod("least")),
    post(
        "pods?dryRun=All",
        _pod("containers", containers=[PROBED], initContainers=[{"name": "i", "image": "a"}]),
    ),
    post("pods?dryRun=All", _pod("volumes", volumes=VOLUMES)),
    post(
        "pods?dryRun=All",
        _pod(
            "host",
            hostNetwork=True,
            containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 9}]}],
        ),
    ),
    post("pods?dryRun=All", _pod("negative-grace", terminationGracePeriodSeconds=-1, restartPolicy="Never")),
    post(
        "pods?dryRun=All",
        _pod(
            "guaranteed",
            containers=[
                {"name": "c", "image": "i:latest", "resources": {"limits": {"cpu": 1, "memory": "1e3"}}}
            ],
        ),
    ),
    post(
        "pods?dryRun=All",
        _pod(
            "secured",
            securityContext={"runAsUser": 5, "fsGroup": 6},
            serviceAccountName="default",
            tolerations=[
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 5}
            ],
            hostname="h",
            subdomain="s",
            topologySpreadConstraints=[
                {"maxSkew": 1, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
            ],
        ),
    ),
)
TOKENS = talk(
    "defaulting",
    "the account's token",
    post(
        "pods?dryRun=All",
        {
            "metadata": {"name": "no-token-is-asked-for"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    ),
)
WORKLOADS = talk(
    "defaulting",
    "workloads",
    post("statefulsets?dryRun=All", workload("least")),
    post(
        "statefulsets?dryRun=All",
        workload(
            "more",
            replicas=0,
            serviceName="web",
            podManagementPolicy="Parallel",
            updateStrategy={"type": "OnDelete"},
            volumeClaimTemplates=[claim_template(), claim_template("more", volumeMode="Block")],
            persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"},
            ordinals={"start": 3},
        ),
    ),
    post("statefulsets?dryRun=All", workload("part", updateStrategy={"rollingUpdate": {"partition": 2}})),
    post("deployments?dryRun=All", workload("least")),
    post("deployments?dryRun=All", workload("recreate", strategy={"type": "Recreate"}, replicas=0)),
    post("deployments?dryRun=All", workload("surge", strategy={"rollingUpdate": {"maxSurge": 1}})),
    post("replicasets?dryRun=All", workload("least")),
    post("daemonsets?dryRun=All", workload("least")),
    post("daemonsets?dryRun=All", workload("delete", updateStrategy={"type": "OnDelete"})),
    post(
        "jobs?dryRun=All",
        {"metadata": {"name": "least"}, "spec": {"template": {"spec": pod_spec(restartPolicy="Never")}}},
    ),
    post(
        "jobs?dryRun=All",
        {
            "metadata": {"name": "more", "labels": {"a": "b"}},
            "spec": {"parallelism": 3, "template": template(restartPolicy="OnFailure"), "suspend": True},
        },
    ),
)
OTHERS = talk(
    "defaulting",
    "other kinds",
    post("configmaps?dryRun=All", {"metadata": {"name": "a"}}),
    post("configmaps?dryRun=All", {"metadata": {"name": "a", "labels": {}, "annotations": {}}, "data": {}}),
    post("secrets?dryRun=All", {"metadata": {"name": "a"}, "stringData": {"k": "v"}}),
    post("secrets?dryRun=All", {"metadata": {"name": "a"}, "data": {"k": "dg=="}, "stringData": {"k": "w"}}),
    post("persistentvolumeclaims?dryRun=All", claim_template("a")),
    post(
        "persistentvolumeclaims?dryRun=All",
        claim_template("b", resources={"requests": {"storage": "1024Ki"}, "limits": {"storage": "1.5Gi"}}),
    ),
    post("poddisruptionbudgets?dryRun=All", {"metadata": {"name": "a"}}),
    post(
        "poddisruptionbudgets?dryRun=All",
        {"metadata": {"name": "a"}, "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}}},
    ),
    post("leases?dryRun=All", {"metadata": {"name": "a"}}),
    post(
        "leases?dryRun=All",
        {"metadata": {"name": "a"}, "spec": {"holderIdentity": "x", "renewTime": "2026-01-01T00:00:00.5Z"}},
    ),
    post(
        "services?dryRun=All",
        {"metadata": {"name": "a"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
    ),
    post(
        "services?dryRun=All",
        {
            "metadata": {"name": "a"},
            "spec": {
                "clusterIP": "None",
                "selector": {"a": "b"},
                "publishNotReadyAddresses": True,
                "ports": [{"name": "a", "port": 80, "targetPort": "web"}, {"name": "b", "port": 81}],
            },
        },
    ),
    post(
        "services?dryRun=All",
        {"metadata": {"name": "a"}, "spec": {"type": "ExternalName", "externalName": "example.dev"}},
    ),
    post("serviceaccounts?dryRun=All", {"metadata": {"name": "a"}}),
    post("networkpolicies?dryRun=All", {"metadata": {"name": "a"}, "spec": {"podSelector": {}}}),
    post(
        "networkpolicies?dryRun=All",
        {
            "metadata": {"name": "a"},
            "spec": {"podSelector": {}, "egress": [{}], "ingress": [{"ports": [{"port": 1}]}]},
        },
    ),
    post("roles?dryRun=All", {"metadata": {"name": "a"}}),
    post(
        "rolebindings?dryRun=All",
        {
            "metadata": {"name": "a"},
            "roleRef": {"kind": "Role", "name": "a"},
            "subjects": [{"kind": "ServiceAccount", "name": "a"}, {"kind": "User", "name": "u"}],
        },
    ),
    post(
        "endpoints?dryRun=All",
        {"metadata": {"name": "a"}, "subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 1}]}]},
    ),
    post(
        "endpointslices?dryRun=All",
        {
            "metadata": {"name": "a"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.1.1.1"]}],
            "ports": [{"port": 1}],
        },
    ),
    post("/api/v1/namespaces?dryRun=All", {"metadata": {"name": "${ns}-other"}}),
    post(
        "/apis/storage.k8s.io/v1/storageclasses?dryRun=All", {"metadata": {"name": "a"}, "provisioner": "x/y"}
    ),
    post(
        "events?dryRun=All",
        {
            "metadata": {"name": "a"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "${ns}"},
            "reason": "R",
        },
    ),
)
FILLED = crd(
    "filleds",
    "Filled",
    {
        "type": "object",
        "default": {},
        "properties": {
            "text": {"type": "string", "default": "here"},
            "number": {"type": "integer", "default": 3},
            "flag": {"type": "boolean", "default": False},
            "empty": {"type": "string", "nullable": True, "default": "not null"},
            "list": {"type": "array", "items": {"type": "string"}, "default": ["a", "b"]},
            "inner": {
                "type": "object",
                "default": {},
                "properties": {"deep": {"type": "string", "default": "deep"}, "free": {"type": "string"}},
            },
            "alone": {"type": "object", "properties": {"deep": {"type": "string", "default": "deep"}}},
            "each": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "size": {"type": "integer", "default": 1}},
                },
            },
            "any": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": {"size": {"type": "integer", "default": 1}},
                },
            },
            "open": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"known": {"type": "string", "default": "yes"}},
            },
        },
    },
    status={"type": "object", "properties": {"phase": {"type": "string", "default": "New"}}},
)
CUSTOM = talk(
    "defaulting",
    "custom resources",
    post("filleds", custom("Filled", "nothing")),
    post("filleds", custom("Filled", "some", {"text": "", "number": 0, "alone": {}, "inner": {"free": "f"}})),
    post("filleds", custom("Filled", "nulls", {"text": None, "empty": None, "inner": None, "alone": None})),
    post("filleds", custom("Filled", "null-spec") | {"spec": None}),
    post(
        "filleds",
        custom(
            "Filled", "nested", {"each": [{"name": "a"}, {"size": 2}], "any": {"x": {}, "y": {"size": 5}}}
        ),
    ),
    post("filleds", custom("Filled", "open", {"open": {"other": {"a": None}}, "list": []})),
    get("filleds/nested"),
    get("filleds/open", save={"version": "metadata.resourceVersion"}),
    merge_patch("filleds/nested", {"spec": {"text": None, "each": [{}], "number": 4}}),
    merge_patch("filleds/nested/status", {"status": {}}),
    put("filleds/open", custom("Filled", "open")),
    put(
        "filleds/open",
        {
            "apiVersion": "parity.example.dev/v1",
            "kind": "Filled",
            "metadata": {"name": "open", "resourceVersion": "${version}"},
        },
    ),
    apply("filleds/applied", custom("Filled", "applied", {"inner": {"free": "f"}})),
    get("filleds"),
)
CRDS = [FILLED]
CONVERSATIONS = [PODS, TOKENS, WORKLOADS, OTHERS, CUSTOM]
DECLARED = [
    declared(
        "token-volume",
        "the node mounts the service account's token where Kubernetes does, without a volume in the pod's "
        "spec",
        Match(
            r"body\.spec\.(volumes|containers\[c\]\.volumeMounts)",
            embedded="<missing>",
            real=".*kube-api-access-.*",
            steps="defaulting/the account's token: .*",
        ),
    ),
]
