"""Server-side apply: who owns what, conflicts, forcing, and what an applier leaves out."""

from parity.conversation import Step, apply, get, merge_patch, post, put, talk
from parity.declared import Match, declared
from parity.objects import configmap, service, widget, workload


def app(image: str = "i:1", **container: object) -> dict[str, object]:
    return workload(
        "ReplicaSet",
        "r",
        template={
            "metadata": {"labels": {"app": "r"}},
            "spec": {
                "schedulerName": "nobody",
                "containers": [{"name": "c", "image": image, **container}],
            },
        },
    )


CONVERSATIONS = [
    talk(
        "apply",
        "of a ConfigMap",
        apply("configmaps/a", configmap("a", {"x": "1", "y": "2"})),
        apply("configmaps/a", configmap("a", {"x": "1", "y": "2"})),
        apply("configmaps/a", configmap("a", {"x": "1"})),
        apply("configmaps/a", configmap("a", {"x": "2"}), "second"),
        apply("configmaps/a", configmap("a", {"x": "1", "z": "3"}), "second"),
        apply("configmaps/a", configmap("a", {"x": "3"}), "first"),
        apply("configmaps/a", configmap("a", {"x": "3"}), "first", force=True),
        apply("configmaps/a", configmap("a", {"z": "3"}), "second"),
        apply("configmaps/a", configmap("a"), "first"),
        merge_patch("configmaps/a?fieldManager=editor", {"data": {"z": "4"}}),
        apply("configmaps/a", configmap("a", {"z": "3"}), "second"),
        apply("configmaps/a", configmap("a", {"z": "3"}), "second", force=True),
        put("configmaps/a?fieldManager=editor", configmap("a", {"z": "5", "w": "6"})),
        apply("configmaps/a", configmap("a", {"z": "3"}, labels={"l": "1"}), "second"),
        apply("configmaps/a?dryRun=All", configmap("a", {"v": "1"}), "third"),
        get("configmaps/a"),
    ),
    talk(
        "apply",
        "that makes no sense",
        apply("configmaps/a", configmap("a"), ""),
        apply("configmaps/a", "a: ["),
        apply("configmaps/a", []),
        apply("configmaps/a", configmap("b")),
        apply("configmaps/a", {"metadata": {"name": "a"}}),
        apply("configmaps/a", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}),
        apply("configmaps/a", configmap("a", managedFields=[{"manager": "x"}])),
        apply("configmaps/a", {**configmap("a"), "data": {"n": 1}}),
        apply("configmaps/a", {**configmap("a"), "unknown": 1}),
        apply("configmaps/a?fieldValidation=Strict", {**configmap("a"), "unknown": 1}),
        apply("configmaps/a", configmap("a", resourceVersion="1")),
        apply("configmaps/a", configmap("a", namespace="elsewhere")),
        apply("/api/v1/namespaces/nowhere/configmaps/a", configmap("a")),
        Step(
            "PATCH", "configmaps/a?fieldManager=x&force=maybe", configmap("a"), "application/apply-patch+yaml"
        ),
        Step("PATCH", "configmaps/a?fieldManager=x&force=true", {}, "application/merge-patch+json"),
        apply("widgets/a", widget("a", {"parts": "x"})),
        apply("widgets/a/status", {**widget("a"), "status": {"size": 1}}),
        apply("configmaps/a?fieldManager=" + "x" * 129, configmap("a"), ""),
    ),
    talk(
        "apply",
        "of a workload",
        apply("replicasets/r", app()),
        apply("replicasets/r", app(env=[{"name": "A", "value": "1"}]), "second"),
        apply("replicasets/r", app("i:2")),
        apply("replicasets/r", app("i:2"), force=True),
        apply("replicasets/r", app(env=[{"name": "A", "value": "2"}, {"name": "B", "value": "1"}]), "second"),
        apply(
            "replicasets/r",
            app(env=[{"name": "A", "value": "2"}, {"name": "B", "value": "1"}]),
            "second",
            force=True,
        ),
        apply("replicasets/r", app(ports=[{"containerPort": 80}], env=[{"name": "A", "value": "2"}])),
        merge_patch("replicasets/r/scale?fieldManager=scaler", {"spec": {"replicas": 0}}),
        apply("replicasets/r", app(), "second"),
        get("replicasets/r"),
        without=("status",),
    ),
    talk(
        "apply",
        "of custom resources",
        apply("widgets/a", widget("a", {"size": 3, "parts": [{"name": "x", "count": 1}], "tags": ["s"]})),
        apply("widgets/a", widget("a", {"parts": [{"name": "y", "count": 2}], "tags": ["t"]}), "second"),
        apply("widgets/a", widget("a", {"size": 5, "parts": [{"name": "x", "count": 2}]}), "second"),
        apply("widgets/a", widget("a", {"size": 5}), "second", force=True),
        apply("widgets/a", widget("a", {"parts": [{"name": "x"}]})),
        apply("widgets/a", widget("a", {"parts": [{"name": "x"}, {"name": "x"}]})),
        apply("widgets/a", widget("a", {"tags": ["s", "s"]})),
        apply("widgets/a/status", {**widget("a"), "status": {"size": 1}}, "controller"),
        apply("widgets/a/status", {**widget("a"), "status": {"size": 2}}, "other"),
        apply("widgets/a", widget("a", {"size": 99}), force=True),
        apply("widgets/a", widget("a", {"options": {"k": "v"}, "unknown": 1})),
        get("widgets/a"),
    ),
    talk(
        "apply",
        "over what was there",
        post("configmaps?fieldManager=creator", configmap("a", {"x": "1"})),
        apply("configmaps/a", configmap("a", {"x": "1"})),
        apply("configmaps/a", configmap("a", {"x": "2"})),
        apply("configmaps/a", configmap("a", {"x": "2"}), force=True),
        post("services?fieldManager=creator", service("s")),
        apply("services/s", service("s", ports=[{"name": "more", "port": 81}])),
        get("services/s"),
    ),
]

OVER = r"apply/over what was there: .*"

DECLARED = [
    declared(
        "before-first-apply",
        "what stood in an object before its first apply belongs to `before-first-apply`, values of the "
        "server and containers included; kube-apiserver names who wrote it",
        Match(r"body\.metadata\.managedFields\[1\]\.manager", '"before-first-apply"', '"creator"', OVER),
        Match(r"body\.metadata\.managedFields\[0\]\.time", '"<time>"', "<missing>", OVER),
        Match(
            r"body\.metadata\.managedFields\[1\]\.fieldsV1\.f:(data\.\.|spec\.f:(clusterIPs|ipFamilies|ipFamilyPolicy))",
            r"\{\}",
            "<missing>",
            OVER,
        ),
        Match(
            r"body\.(message|details\.causes\[0\]\.message)",
            r'.*conflict with \\"before-first-apply\\" using v1.*',
            r'.*conflict with \\"creator\\" using v1.*',
            OVER,
        ),
    ),
]
