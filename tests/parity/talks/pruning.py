"""Fields that nobody knows: dropped, told of, refused or kept, in custom resources and in built-in kinds."""

from __future__ import annotations

from parity.conversation import Step, apply, get, json_patch, merge_patch, post, put, strategic_patch, talk
from parity.declared import Match, declared
from parity.samples import crd, custom, pod_spec, workload

PRUNED = crd(
    "pruneds",
    "Pruned",
    {
        "type": "object",
        "properties": {
            "known": {"type": "string"},
            "inner": {"type": "object", "properties": {"known": {"type": "string"}}},
            "items": {
                "type": "array",
                "items": {"type": "object", "properties": {"known": {"type": "string"}}},
            },
            "texts": {"type": "object", "additionalProperties": {"type": "string"}},
            "parts": {
                "type": "object",
                "additionalProperties": {"type": "object", "properties": {"known": {"type": "string"}}},
            },
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "half": {
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
                "properties": {"shut": {"type": "object", "properties": {"known": {"type": "string"}}}},
            },
            "embedded": {
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "properties": {
                    "spec": {"type": "object", "properties": {"known": {"type": "string"}}},
                },
            },
            "whole": {
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "x-kubernetes-preserve-unknown-fields": True,
            },
            "either": {"x-kubernetes-int-or-string": True},
        },
    },
    status={"type": "object", "properties": {"known": {"type": "string"}}},
)
ODD = {
    "known": "k",
    "odd": 1,
    "inner": {"known": "k", "odd": {"a": 1}},
    "items": [{"known": "k", "odd": True}, {"odd": None}],
    "texts": {"any": "t"},
    "parts": {"one": {"known": "k", "odd": []}},
    "open": {"odd": {"deep": 1}},
    "half": {"odd": 1, "shut": {"known": "k", "odd": 1}},
}
EMBEDDED = {
    "embedded": {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"a": "b"}, "odd": 1},
        "odd": 1,
        "spec": {"known": "k", "odd": 1},
    },
    "whole": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "odd": {"kept": 1}},
}
VALIDATIONS = ("Strict", "Warn", "Ignore")


def _each(path: str, body: object) -> list[Step]:
    return [post(f"{path}?dryRun=All&fieldValidation={how}", body) for how in VALIDATIONS]


CUSTOM = talk(
    "pruning",
    "custom resources",
    post("pruneds", custom("Pruned", "odd", ODD, odd=1)),
    get("pruneds/odd"),
    post("pruneds", custom("Pruned", "embedded", EMBEDDED)),
    post(
        "pruneds",
        custom("Pruned", "nameless", {"embedded": {"apiVersion": "v1", "metadata": {"name": "P!"}}}),
    ),
    post("pruneds", custom("Pruned", "status", {}, status={"known": "k"})),
    *_each("pruneds", custom("Pruned", "validated", ODD, odd=1)),
    post("pruneds?fieldValidation=Sometimes", custom("Pruned", "validated", {})),
    post(
        "pruneds",
        {**custom("Pruned", "meta", {}), "metadata": {"name": "meta", "odd": 1, "labels": {"a": "b"}}},
    ),
    post(
        "pruneds?fieldValidation=Strict",
        {**custom("Pruned", "meta", {}), "metadata": {"name": "meta", "odd": 1}},
    ),
    post("pruneds", {**custom("Pruned", "wrong"), "metadata": {"name": "wrong", "labels": {"a": 1}}}),
)
WRITES = talk(
    "pruning",
    "every way to write",
    post("pruneds", custom("Pruned", "a", {"known": "k"}), save={"version": "metadata.resourceVersion"}),
    merge_patch("pruneds/a", {"spec": {"odd": 1}}),
    merge_patch("pruneds/a?fieldValidation=Strict", {"spec": {"odd": 1, "known": "other"}}),
    json_patch("pruneds/a?fieldValidation=Strict", {"op": "add", "path": "/spec/odd", "value": 1}),
    json_patch("pruneds/a", {"op": "add", "path": "/odd", "value": 1}),
    merge_patch("pruneds/a/status", {"status": {"known": "k", "odd": 1}, "spec": {"known": "unheeded"}}),
    put("pruneds/a?fieldValidation=Strict", custom("Pruned", "a", {"odd": 1}, odd=2)),
    apply("pruneds/b", custom("Pruned", "b", {"known": "k", "odd": 1})),
    apply("pruneds/b?fieldValidation=Strict", custom("Pruned", "b", {"known": "k", "odd": 1})),
    get("pruneds/a"),
    post(
        "pruneds",
        '{"apiVersion": "parity.example.dev/v1", "kind": "Pruned", "metadata": {"name": "c"}, '
        '"spec": {"known": "first", "known": "second", "odd": 1, "odd": 2}}',
    ),
    post(
        "pruneds?fieldValidation=Strict",
        '{"apiVersion": "parity.example.dev/v1", "kind": "Pruned", "metadata": {"name": "d"}, '
        '"spec": {"known": "first", "known": "second"}}',
    ),
)
ODD_POD = {
    "metadata": {"name": "odd", "odd": 1},
    "spec": pod_spec(odd=1, containers=[{"name": "c", "image": "i", "odd": 1}]),
}
BUILT_IN = talk(
    "pruning",
    "built-in kinds",
    *_each("pods", ODD_POD),
    *_each("statefulsets", workload("odd", contaners=[], updateStrategy={"odd": 1})),
    *_each("configmaps", {"metadata": {"name": "odd"}, "data": {"a": "b"}, "binary": {}, "odd": None}),
    post(
        "services",
        {
            "metadata": {"name": "odd"},
            "spec": {"clusterIP": "None", "port": 1, "ports": [{"port": 1, "odd": 1}]},
        },
    ),
    post("configmaps", {"metadata": {"name": "a"}, "data": {"a": "b"}, "odd": 1}),
    merge_patch("configmaps/a", {"odd": 1, "data": {"c": "d"}}),
    strategic_patch("configmaps/a", {"odd": 1}),
    merge_patch("configmaps/a?fieldValidation=Strict", {"metadata": {"odd": 1}}),
    strategic_patch("configmaps/a?fieldValidation=Strict", {"odd": 1}),
    json_patch("configmaps/a?fieldValidation=Strict", {"op": "add", "path": "/odd", "value": 1}),
    apply("configmaps/b", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "odd": 1}),
    put("configmaps/a?fieldValidation=Strict", {"metadata": {"name": "a"}, "odd": 1}),
    post("configmaps", '{"metadata": {"name": "twice"}, "data": {"a": "1", "a": "2"}}'),
    post("configmaps?fieldValidation=Strict", '{"metadata": {"name": "e"}, "data": {"a": "1", "a": "2"}}'),
)
TYPES = talk(
    "pruning",
    "values of the wrong type",
    post("configmaps", {"metadata": {"name": "a"}, "data": {"a": 1}}),
    post("configmaps", {"metadata": {"name": "a"}, "data": ["a"]}),
    post("configmaps", {"metadata": {"name": "a", "labels": {"a": True}}}),
    post("configmaps", {"metadata": {"name": 5}}),
    post("configmaps", {"metadata": "a"}),
    post("pods", {"metadata": {"name": "a"}, "spec": {"containers": "c"}}),
    post("pods", {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": ["i"]}]}}),
    post("pods", {"metadata": {"name": "a"}, "spec": pod_spec(hostNetwork="yes")}),
    post(
        "pods",
        {
            "metadata": {"name": "a"},
            "spec": pod_spec(containers=[{"name": "c", "ports": [{"containerPort": "80"}]}]),
        },
    ),
    post("pods", {"metadata": {"name": "a"}, "spec": "spec"}),
    post("statefulsets", workload("a", replicas="3")),
    post("statefulsets", workload("a", replicas=1.5)),
    post("statefulsets", workload("a", replicas=5_000_000_000)),
    post("deployments", workload("a", strategy="Recreate")),
    post(
        "pods",
        {
            "metadata": {"name": "a"},
            "spec": pod_spec(containers=[{"name": "c", "resources": {"limits": {"cpu": "much"}}}]),
        },
    ),
    post("leases", {"metadata": {"name": "a"}, "spec": {"renewTime": "today"}}),
    post("secrets", {"metadata": {"name": "a"}, "data": {"k": "no base64!"}}),
)
CRDS = [PRUNED]
CONVERSATIONS = [CUSTOM, WRITES, BUILT_IN, TYPES]
DECLARED = [
    declared(
        "strategic-strict",
        "with fieldValidation=Strict an unknown field in a strategic merge patch is refused with the patched "
        "object, not the patch",
        Match(
            r"body\.(message|details\.causes\[0\]\.message)",
            real=r".*map\[odd:1\].*",
            steps="pruning/built-in kinds: PATCH .* strategic-merge-patch.json",
        ),
    ),
]
