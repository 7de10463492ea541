"""Patches by JSON patch, merge patch and strategic merge patch."""

from parity.conversation import Step, get, json_patch, merge_patch, post, strategic_patch, talk
from parity.declared import Match, declared
from parity.objects import configmap, pod, service, widget, workload

CONTAINERS = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}}


RECREATE = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}


def container(**fields: object) -> dict[str, object]:
    """A strategic patch of container `c` of a workload."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", **fields}]}}}}


def pod_template(**fields: object) -> dict[str, object]:
    return {"spec": {"template": {"spec": fields}}}


def labels(**values: object) -> dict[str, object]:
    return {"metadata": {"labels": values}}


CONVERSATIONS = [
    talk(
        "json patch",
        "every operation",
        post("configmaps", configmap("a", {"x": "1", "y": "2"}, labels={"l": "1"})),
        json_patch("configmaps/a", {"op": "add", "path": "/data/z", "value": "3"}),
        json_patch("configmaps/a", {"op": "replace", "path": "/data/z", "value": "4"}),
        json_patch("configmaps/a", {"op": "remove", "path": "/data/y"}),
        json_patch("configmaps/a", {"op": "copy", "from": "/data/x", "path": "/data/w"}),
        json_patch("configmaps/a", {"op": "move", "from": "/data/w", "path": "/data/v"}),
        json_patch(
            "configmaps/a",
            {"op": "test", "path": "/data/x", "value": "1"},
            {"op": "replace", "path": "/data/x", "value": "5"},
        ),
        json_patch("configmaps/a", {"op": "add", "path": "/metadata/labels/example.dev~1k", "value": "v"}),
        json_patch("configmaps/a", {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}),
        json_patch("configmaps/a", {"op": "remove", "path": "/metadata/labels"}),
        json_patch("configmaps/a"),
        json_patch("configmaps/a?dryRun=All", {"op": "remove", "path": "/data"}),
        json_patch("configmaps/a", {"op": "add", "path": "/data/n", "value": 1}),
        json_patch("configmaps/a", {"op": "add", "path": "/unknown", "value": 1}),
        json_patch("configmaps/a?fieldValidation=Strict", {"op": "add", "path": "/unknown", "value": 1}),
        get("configmaps/a"),
    ),
    talk(
        "json patch",
        "that does not fit",
        post("configmaps", configmap("a", {"x": "1"})),
        json_patch("configmaps/a", {"op": "test", "path": "/data/x", "value": "2"}),
        json_patch("configmaps/a", {"op": "test", "path": "/data/none", "value": "2"}),
        json_patch("configmaps/a", {"op": "remove", "path": "/data/none"}),
        json_patch("configmaps/a", {"op": "replace", "path": "/data/none", "value": "x"}),
        json_patch("configmaps/a", {"op": "add", "path": "/none/deeper", "value": "x"}),
        json_patch("configmaps/a", {"op": "jump", "path": "/data/x"}),
        json_patch("configmaps/a", {"path": "/data/x"}),
        json_patch("configmaps/a", {"op": "copy", "from": "/data/none", "path": "/data/y"}),
        Step("PATCH", "configmaps/a", {"op": "add"}, "application/json-patch+json"),
        Step("PATCH", "configmaps/a", "[", "application/json-patch+json"),
        json_patch("configmaps/none", {"op": "add", "path": "/data/x", "value": "x"}),
        get("configmaps/a"),
    ),
    talk(
        "json patch",
        "of a path without its slash",
        post("configmaps", configmap("a", {"x": "1"})),
        json_patch("configmaps/a", {"op": "add", "path": "data/x", "value": "x"}),
    ),
    talk(
        "json patch",
        "of lists and custom resources",
        post("widgets", widget("a", {"size": 1, "parts": [{"name": "x"}, {"name": "y"}]})),
        json_patch("widgets/a", {"op": "add", "path": "/spec/parts/-", "value": {"name": "z"}}),
        json_patch("widgets/a", {"op": "add", "path": "/spec/parts/0", "value": {"name": "w"}}),
        json_patch("widgets/a", {"op": "remove", "path": "/spec/parts/1"}),
        json_patch("widgets/a", {"op": "remove", "path": "/spec/parts/9"}),
        json_patch("widgets/a", {"op": "add", "path": "/spec/parts/9", "value": {"name": "v"}}),
        json_patch("widgets/a", {"op": "replace", "path": "/spec/size", "value": 99}),
        json_patch("widgets/a", {"op": "replace", "path": "/spec/size", "value": "x"}),
        json_patch("widgets/a/status", {"op": "add", "path": "/status", "value": {"size": 3}}),
        json_patch("widgets/a/scale", {"op": "replace", "path": "/spec/replicas", "value": 3}),
        json_patch("widgets/a", {"op": "add", "path": "/status/size", "value": 7}),
        json_patch("widgets/a", {"op": "test", "path": "/spec/size", "value": 7}),
    ),
    talk(
        "merge patch",
        "of a ConfigMap",
        post("configmaps", configmap("a", {"x": "1", "y": "2"}, labels={"l": "1"})),
        merge_patch("configmaps/a", {"data": {"x": "3", "z": "4"}}),
        merge_patch("configmaps/a", {"data": {"y": None}}),
        merge_patch("configmaps/a", {"data": None}),
        merge_patch("configmaps/a", {"metadata": {"labels": {"l": None, "m": "2"}}}),
        merge_patch("configmaps/a", {"metadata": {"labels": None}}),
        merge_patch("configmaps/a", {}),
        merge_patch("configmaps/a", {"data": {"n": 1}}),
        merge_patch("configmaps/a", {"data": []}),
        merge_patch("configmaps/a", labels(bad="no good!")),
        merge_patch("configmaps/a", {"unknown": 1}),
        merge_patch("configmaps/a?fieldValidation=Strict", {"unknown": 1}),
        merge_patch("configmaps/a?dryRun=All", {"data": {"x": "9"}}),
        Step("PATCH", "configmaps/a", [], "application/merge-patch+json"),
        Step("PATCH", "configmaps/a", "{", "application/merge-patch+json"),
        Step("PATCH", "configmaps/a", {}, "application/json"),
        Step("PATCH", "widgets/a", {}, "application/json"),
        merge_patch("configmaps/a", {"kind": "Secret"}),
        merge_patch("configmaps/a", {"apiVersion": "v9"}),
        get("configmaps/a"),
    ),
    talk(
        "merge patch",
        "of other kinds",
        post("replicasets", workload("ReplicaSet", "r")),
        merge_patch("replicasets/r", {"spec": {"replicas": 0, "minReadySeconds": 1}}),
        merge_patch("replicasets/r", CONTAINERS),
        merge_patch("replicasets/r", {"spec": {"replicas": -1}}),
        merge_patch("replicasets/r", {"spec": {"template": None}}),
        post("widgets", widget("a", {"size": 1, "parts": [{"name": "x"}], "options": {"a": "1"}})),
        merge_patch("widgets/a", {"spec": {"parts": [{"name": "y"}]}}),
        merge_patch("widgets/a", {"spec": {"options": {"a": None, "b": "2"}}}),
        merge_patch("widgets/a", {"spec": None}),
        merge_patch("widgets/a", {"spec": {"size": 3, "unknown": 1}}),
        merge_patch("widgets/a?fieldValidation=Strict", {"spec": {"unknown": 1}}),
        merge_patch("widgets/a/status", {"status": {"size": 3}, "spec": {"size": 9}}),
        merge_patch("widgets/a", {"status": {"size": 7}}),
        merge_patch("widgets/a/scale", {"spec": {"replicas": 5}}),
        merge_patch("widgets/a/scale", {"spec": {"replicas": 50}}),
        post("deployments", workload("Deployment", "d", paused=True)),
        merge_patch("deployments/d", {"spec": {"strategy": {"type": "Recreate"}}}),
        strategic_patch("deployments/d", RECREATE),
        strategic_patch(
            "deployments/d", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "RollingUpdate"}}}
        ),
        without=("status",),
    ),
    talk(
        "strategic merge patch",
        "of a workload",
        post("replicasets", workload("ReplicaSet", "r")),
        strategic_patch("replicasets/r", container(image="i:2")),
        strategic_patch("replicasets/r", container(env=[{"name": "A", "value": "1"}])),
        strategic_patch("replicasets/r", container(env=[{"name": "B", "value": "2"}])),
        strategic_patch("replicasets/r", container(env=[{"name": "A", "$patch": "delete"}])),
        strategic_patch("replicasets/r", container(ports=[{"containerPort": 80}])),
        strategic_patch("replicasets/r", container(ports=[{"containerPort": 80, "name": "http"}])),
        strategic_patch("replicasets/r", pod_template(containers=[{"name": "e", "image": "j:1"}])),
        strategic_patch("replicasets/r", pod_template(containers=[{"name": "e", "$patch": "delete"}])),
        strategic_patch("replicasets/r", pod_template(containers=[{"name": "none", "$patch": "delete"}])),
        strategic_patch("replicasets/r", pod_template(containers=[{"image": "j:1"}])),
        strategic_patch("replicasets/r", container(command=["a", "b"])),
        strategic_patch("replicasets/r", container(command=["c"])),
        strategic_patch("replicasets/r", container(env=None)),
        strategic_patch(
            "replicasets/r",
            pod_template(volumes=[{"name": "v", "emptyDir": {}}], tolerations=[{"operator": "Exists"}]),
        ),
        strategic_patch(
            "replicasets/r",
            pod_template(
                volumes=[{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]
            ),
        ),
        strategic_patch("replicasets/r", pod_template(volumes=[{"$patch": "replace"}])),
        get("replicasets/r"),
        without=("status",),
    ),
    talk(
        "strategic merge patch",
        "of other kinds",
        post("services", service("s")),
        strategic_patch("services/s", {"spec": {"ports": [{"port": 81, "name": "more"}]}}),
        strategic_patch("services/s", {"spec": {"ports": [{"port": 81, "$patch": "delete"}]}}),
        post(
            "configmaps",
            configmap("a", {"x": "1", "y": "2"}, finalizers=["example.dev/a"]),
            save={"owner": "metadata.uid"},
        ),
        strategic_patch("configmaps/a", {"metadata": {"finalizers": ["example.dev/b"]}}),
        strategic_patch(
            "configmaps/a", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.dev/a"]}}
        ),
        strategic_patch("configmaps/a", {"metadata": {"finalizers": None}}),
        strategic_patch("configmaps/a", {"data": {"$patch": "replace", "z": "3"}}),
        strategic_patch("configmaps/a", {"data": {"z": None}}),
        strategic_patch("configmaps/a", {"data": {"$patch": "delete"}}),
        strategic_patch("configmaps/a", {"$patch": "sideways"}),
        strategic_patch("configmaps/a", {"data": {"n": 1}}),
        strategic_patch("configmaps/a", {"unknown": 1}),
        Step("PATCH", "configmaps/a", [], "application/strategic-merge-patch+json"),
        post("pods", pod("p")),
        strategic_patch(
            "pods/p/status",
            {
                "status": {
                    "conditions": [
                        {
                            "type": "Ready",
                            "status": "True",
                            "lastProbeTime": None,
                            "lastTransitionTime": "2020-01-01T00:00:00Z",
                        }
                    ]
                }
            },
        ),
        strategic_patch(
            "pods/p",
            {
                "metadata": {
                    "ownerReferences": [
                        {
                            "apiVersion": "v1",
                            "kind": "ConfigMap",
                            "name": "a",
                            "uid": "${owner}",
                        }
                    ]
                }
            },
        ),
        strategic_patch(
            "pods/p",
            {"metadata": {"ownerReferences": [{"uid": "${owner}", "$patch": "delete"}]}},
        ),
        strategic_patch("widgets/a", {"spec": {"size": 3}}),
        strategic_patch("configmaps/none", {}),
    ),
]

NO_SLASH = r"json patch/of a path without its slash: PATCH .*"

DECLARED = [
    declared(
        "json-patch-without-slash",
        "a JSON patch's path that does not begin with a slash is refused; kube-apiserver skips its first "
        "part",
        Match(r"code", "422", "200", NO_SLASH),
        Match(r"warnings", r"\[\]", r".*unknown field.*", NO_SLASH),
        Match(r"body\.(code|data|details|kind|message|metadata\..*|reason|status)", steps=NO_SLASH),
    ),
    declared(
        "causes-once",
        "an error of metadata is one of `details.causes`; kube-apiserver repeats it in updates of some kinds",
        Match(
            r"body\.details\.causes",
            r"\[\{[^{}]*metadata\.labels[^{}]*\}\]|\[\{.*no good!.*\}\]",
            r"\[\{.*no good!.*\}, \{.*no good!.*\}\]",
            r"merge patch/of a ConfigMap: PATCH .*",
        ),
    ),
    declared(
        "strategic-types",
        "a value of the wrong type in a strategic merge patch is refused with the patched object in the "
        "message instead of the patch",
        Match(
            r"body\.(message|details\.causes\[0\]\.message)",
            r".*json: cannot unmarshal number.*",
            r".*cannot convert int64 to string.*",
            r"strategic merge patch/of other kinds: PATCH configmaps/a .*",
        ),
    ),
]
