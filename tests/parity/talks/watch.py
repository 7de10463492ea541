"""Watches: from the beginning, from a version, of a selection, of one object, in other forms."""

from parity.conversation import (
    METADATA,
    TABLE,
    delete,
    get,
    json_patch,
    merge_patch,
    post,
    talk,
    watch,
)
from parity.declared import Match, declared
from parity.objects import configmap, widget

MINE = "labelSelector=mine"
START = post("configmaps", configmap("start"), save={"version": "metadata.resourceVersion"})
FROM_START = "configmaps?resourceVersion=${version}"

CONVERSATIONS = [
    talk(
        "watch",
        "changes of a selection",
        START,
        watch(
            f"{FROM_START}&{MINE}",
            5,
            post("configmaps", configmap("a", {"k": "1"}, labels={"mine": ""})),
            merge_patch("configmaps/a", {"data": {"k": "2"}}),
            json_patch("configmaps/a", {"op": "remove", "path": "/metadata/labels/mine"}),
            merge_patch("configmaps/a", {"data": {"k": "3"}}),
            merge_patch("configmaps/a", {"metadata": {"labels": {"mine": "again"}}}),
            delete("configmaps/a"),
        ),
        watch(f"{FROM_START}&{MINE}", 5),
        watch(f"{FROM_START}&fieldSelector=metadata.name=a&timeoutSeconds=1", 9),
        watch("configmaps/start?resourceVersion=0", 1),
        watch("/api/v1/watch/namespaces/${ns}/configmaps?timeoutSeconds=1", 1),
    ),
    talk(
        "watch",
        "what there is, then what comes",
        post("configmaps", configmap("a", labels={"mine": ""})),
        post("configmaps", configmap("b", labels={"mine": ""})),
        watch(f"configmaps?{MINE}", 3, post("configmaps", configmap("c", labels={"mine": ""}))),
        watch(f"configmaps?{MINE}&timeoutSeconds=1", 9),
        watch(
            f"configmaps?{MINE}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            4,
        ),
        watch("configmaps?sendInitialEvents=true", 1),
        watch("configmaps?resourceVersionMatch=NotOlderThan", 1),
        watch("configmaps?sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=true", 1),
        watch("configmaps?sendInitialEvents=true&resourceVersionMatch=NotOlderThan", 1),
    ),
    talk(
        "watch",
        "an object with a finalizer goes",
        START,
        watch(
            f"{FROM_START}&{MINE}",
            3,
            post("configmaps", configmap("a", labels={"mine": ""}, finalizers=["example.dev/x"])),
            delete("configmaps/a"),
            merge_patch("configmaps/a", {"metadata": {"finalizers": []}}),
        ),
    ),
    talk(
        "watch",
        "writes that change nothing",
        START,
        watch(
            f"{FROM_START}&{MINE}",
            2,
            post("configmaps", configmap("a", {"k": "1"}, labels={"mine": ""})),
            merge_patch("configmaps/a", {"data": {"k": "1"}}),
            merge_patch("configmaps/a?dryRun=All", {"data": {"k": "5"}}),
            merge_patch("configmaps/a", {"data": {"k": "2"}}),
        ),
    ),
    talk(
        "watch",
        "custom resources and other forms",
        post("widgets", widget("start"), save={"version": "metadata.resourceVersion"}),
        watch(
            "widgets?resourceVersion=${version}",
            3,
            post("widgets", widget("a", {"size": 1})),
            merge_patch("widgets/a/status", {"status": {"size": 1}}),
            delete("widgets/a"),
        ),
        watch("widgets?resourceVersion=${version}", 3, accept=METADATA),
        watch("widgets?resourceVersion=${version}", 3, accept=TABLE),
        watch("widgets?resourceVersion=${version}&includeObject=None", 2, accept=TABLE),
    ),
    talk(
        "watch",
        "questions that make no sense",
        START,
        watch("configmaps?resourceVersion=nonsense", 1),
        watch("configmaps?resourceVersion=99999999&timeoutSeconds=1", 1),
        watch("configmaps?resourceVersion=1&timeoutSeconds=x", 1),
        watch("configmaps?labelSelector=a%20b", 1),
        watch("configmaps?fieldSelector=spec.x=y", 1),
        get("/api/v1/namespaces/${ns}/unicorns?watch=true"),
        get("configmaps/none?watch=true&timeoutSeconds=1"),
        watch("configmaps?timeoutSeconds=1&resourceVersion=0&labelSelector=none", 1),
        watch("configmaps?resourceVersion=${version}&limit=1&timeoutSeconds=1", 1),
    ),
]

DECLARED = [
    declared(
        "watch-paths",
        "`/api/v1/watch/...`, deprecated since Kubernetes 1.11, is not served",
        Match(r"code|body|type", steps=r"watch/changes of a selection: GET /api/v1/watch/.*"),
    ),
    declared(
        "watch-from-the-future",
        "a watch from a version that is still to come ends with an error instead of waiting for it, so that "
        "clients that outlived their world begin anew",
        Match(r"body", r".*Too large resource version.*", r"\[\]", r"watch/.*resourceVersion=99999999.*"),
    ),
]
