"""Deletion: finalizers, grace, propagation, preconditions, what may change meanwhile, collections."""

from __future__ import annotations

from parity.conversation import delete, get, json_patch, merge_patch, post, put, talk, watch
from parity.samples import claim_template, config_map, crd, custom, going, pod_spec, template, workload

KEPT = "parity.example.dev/kept"
MORE = "parity.example.dev/more"
HELD = crd("helds", "Held", {"type": "object"}, status={"type": "object"})


def _options(**options: object) -> object:
    return {"kind": "DeleteOptions", "apiVersion": "v1", **options}


FINALIZERS = talk(
    "deletion with finalizers",
    "a finalizer holds an object",
    post(
        "configmaps",
        config_map("a", finalizers=[KEPT, MORE], labels={"a": "b"}),
        save={"uid": "metadata.uid"},
    ),
    delete("configmaps/a"),
    get("configmaps/a", save={"deleted": "metadata.deletionTimestamp"}),
    delete("configmaps/a"),
    merge_patch("configmaps/a", {"metadata": {"deletionTimestamp": None}}),
    merge_patch("configmaps/a", {"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}}),
    merge_patch("configmaps/a", {"metadata": {"deletionGracePeriodSeconds": 7}}),
    merge_patch("configmaps/a", {"data": {"still": "written"}}),
    merge_patch("configmaps/a", {"metadata": {"finalizers": [KEPT, MORE, "parity.example.dev/new"]}}),
    post("configmaps", config_map("a")),
    merge_patch("configmaps/a", {"metadata": {"finalizers": [KEPT]}}),
    get("configmaps/a"),
    json_patch("configmaps/a", {"op": "remove", "path": "/metadata/finalizers/0"}),
    get("configmaps/a"),
    delete("configmaps/a"),
    post("configmaps", config_map("a")),
    get("configmaps/a"),
)
WAYS = talk(
    "deletion with finalizers",
    "the last finalizer goes by a replacement",
    post(
        "helds", custom("Held", "a", {}), save={"uid": "metadata.uid", "version": "metadata.resourceVersion"}
    ),
    merge_patch("helds/a", {"metadata": {"finalizers": [KEPT]}}),
    delete("helds/a"),
    merge_patch("helds/a/status", {"status": {}, "metadata": {"finalizers": None}}),
    get("helds/a", save={"version": "metadata.resourceVersion"}),
    put(
        "helds/a",
        {
            **custom("Held", "a"),
            "metadata": {"name": "a", "uid": "${uid}", "resourceVersion": "${version}", "finalizers": []},
        },
    ),
    get("helds/a"),
    post("helds", {**custom("Held", "b", {}), "metadata": {"name": "b", "finalizers": ["no-domain"]}}),
    post("helds", {**custom("Held", "c", {}), "metadata": {"name": "c", "finalizers": ["a b/c"]}}),
    post("configmaps", config_map("d", finalizers=["orphan", "foregroundDeletion"])),
    delete("helds/b?propagationPolicy=Background"),
    merge_patch("helds/b", {"metadata": {"finalizers": None}}),
    get("helds/b"),
    delete("helds/none"),
)
PROPAGATION = talk(
    "deletion with finalizers",
    "propagation policies",
    post("configmaps", config_map("a", finalizers=[KEPT])),
    delete("configmaps/a?propagationPolicy=Foreground"),
    delete("configmaps/a?propagationPolicy=Background"),
    delete("configmaps/a?propagationPolicy=Orphan"),
    merge_patch("configmaps/a", {"metadata": {"finalizers": None}}),
    get("configmaps/a", until={"code": 404}),
    post("configmaps", config_map("b")),
    delete("configmaps/b?propagationPolicy=Sideways"),
    delete("configmaps/b", _options(propagationPolicy="Sideways")),
    delete("configmaps/b", _options(orphanDependents=True, propagationPolicy="Foreground")),
    delete("configmaps/b", _options(odd=1)),
    post("configmaps", config_map("c")),
    delete("configmaps/c", _options(orphanDependents=False)),
    get("configmaps/c", until={"code": 404}),
)
JOBS = talk(
    "deletion with finalizers",
    "jobs",
    post(
        "jobs",
        {"metadata": {"name": "a"}, "spec": {"suspend": True, "template": template(restartPolicy="Never")}},
    ),
    delete("jobs/a?dryRun=All"),
    delete("jobs/a"),
    get("jobs/a", until={"code": 404}),
    post(
        "jobs",
        {"metadata": {"name": "b"}, "spec": {"suspend": True, "template": template(restartPolicy="Never")}},
    ),
    delete("jobs/b?propagationPolicy=Background"),
    without=("status",),
)
PRECONDITIONS = talk(
    "deletion with finalizers",
    "preconditions and dry runs",
    post("configmaps", config_map("a"), save={"uid": "metadata.uid", "version": "metadata.resourceVersion"}),
    delete("configmaps/a", _options(preconditions={"uid": "00000000-0000-0000-0000-000000000000"})),
    delete("configmaps/a", _options(preconditions={"resourceVersion": "1"})),
    delete("configmaps/a?dryRun=All"),
    delete("configmaps/a", _options(dryRun=["All"])),
    delete("configmaps/a", _options(dryRun=["Some"])),
    delete("configmaps/a?gracePeriodSeconds=-5"),
    delete("configmaps/a?gracePeriodSeconds=soon"),
    get("configmaps/a"),
    delete("configmaps/a", _options(preconditions={"uid": "${uid}", "resourceVersion": "${version}"})),
    get("configmaps/a"),
    delete("configmaps/a"),
)
GRACE = talk(
    "deletion with finalizers",
    "pods and other kinds",
    post("pods", {"metadata": {"name": "a"}, "spec": pod_spec()}),
    delete("pods/a?gracePeriodSeconds=5"),
    get("pods/a"),
    post("pods", {"metadata": {"name": "b", "finalizers": [KEPT]}, "spec": pod_spec()}),
    delete("pods/b"),
    get("pods/b"),
    merge_patch("pods/b", {"metadata": {"finalizers": None}}),
    get("pods/b"),
    post("helds", {**custom("Held", "a", {}), "metadata": {"name": "a", "finalizers": [KEPT]}}),
    delete("helds/a?gracePeriodSeconds=5"),
    merge_patch("helds/a", {"metadata": {"finalizers": None}}),
    post("persistentvolumeclaims", claim_template("a")),
    delete("persistentvolumeclaims/a"),
    post(
        "services",
        {"metadata": {"name": "a"}, "spec": {"clusterIP": "None", "ipFamilyPolicy": "SingleStack"}},
    ),
    delete("services/a"),
    post("deployments", workload("a", replicas=0)),
    delete("deployments/a"),
    post("leases", {"metadata": {"name": "a"}, "spec": {}}),
    delete("leases/a"),
    delete("serviceaccounts/none"),
    post("serviceaccounts", {"metadata": {"name": "a"}}),
    delete("serviceaccounts/a"),
)
COLLECTIONS = talk(
    "deletion with finalizers",
    "collections",
    post("configmaps", config_map("a", labels={"x": "1"})),
    post("configmaps", config_map("b", labels={"x": "2"}, finalizers=[KEPT])),
    post("configmaps", config_map("c", labels={"x": "2"})),
    delete("configmaps?labelSelector=x=3"),
    delete("configmaps?labelSelector=x&dryRun=All"),
    delete("configmaps?labelSelector=x=2"),
    get("configmaps?labelSelector=x"),
    delete("configmaps?fieldSelector=metadata.name=a"),
    get("configmaps?labelSelector=x"),
    merge_patch("configmaps/b", {"metadata": {"finalizers": None}}),
    get("configmaps?labelSelector=x"),
    post("helds", custom("Held", "a", {})),
    delete("helds"),
    get("helds"),
)
EVENTS = talk(
    "deletion with finalizers",
    "what a watch sees",
    post("helds", {**custom("Held", "a", {}), "metadata": {"name": "a", "finalizers": [KEPT]}}),
    watch(
        "helds",
        3,
        delete("helds/a"),
        merge_patch("helds/a", {"metadata": {"finalizers": None}}),
    ),
)
CONTAINERS = talk(
    "deletion with finalizers",
    "namespaces",
    post("/api/v1/namespaces", {"metadata": {"name": "${ns}-inner"}}),
    post("/api/v1/namespaces/${ns}-inner/configmaps", config_map("a", finalizers=[KEPT])),
    delete("/api/v1/namespaces/${ns}-inner"),
    get(
        "/api/v1/namespaces/${ns}-inner/configmaps/a",
        until=going,
    ),
    post("/api/v1/namespaces/${ns}-inner/configmaps", config_map("b")),
    merge_patch("/api/v1/namespaces/${ns}-inner/configmaps/a", {"metadata": {"finalizers": None}}),
    get("/api/v1/namespaces/${ns}-inner", until={"code": 404}),
    delete("/api/v1/namespaces/${ns}-inner"),
    delete("/api/v1/namespaces/kube-system"),
    cleanup=("/api/v1/namespaces/${ns}-inner",),
)
CRDS = [HELD]
CONVERSATIONS = [FINALIZERS, WAYS, PROPAGATION, JOBS, PRECONDITIONS, GRACE, COLLECTIONS, EVENTS, CONTAINERS]
