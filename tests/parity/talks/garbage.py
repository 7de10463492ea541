"""Owner garbage collection: each talk waits until it has happened, and compares what is left."""

from __future__ import annotations

from typing import Any

from parity.conversation import Step, delete, get, merge_patch, post, talk
from parity.samples import config_map, crd, custom, going, owner

KEPT = "parity.example.dev/kept"
OWNING = crd("ownings", "Owning", {"type": "object"})
WIDE = crd("wides", "Wide", {"type": "object"}, scope="Cluster")
WIDE_PATH = "/apis/parity.example.dev/v1/wides"
GONE = {"code": 404}
NOBODY = "00000000-0000-0000-0000-000000000000"


def _owned(name: str, *owners: dict[str, Any], **meta: Any) -> Step:
    return post("configmaps", config_map(name, labels={"x": "y"}, ownerReferences=list(owners), **meta))


def _parent(name: str = "parent", **meta: Any) -> Step:
    return post("configmaps", config_map(name, labels={"x": "y"}, **meta), save={name: "metadata.uid"})


def _by(name: str = "parent", **more: Any) -> dict[str, Any]:
    return owner("ConfigMap", name, f"${{{name}}}", **more)


LEFT = get("configmaps?labelSelector=x")
BACKGROUND = talk(
    "owner garbage collection",
    "in the background",
    _parent(),
    _owned("child", _by(controller=True, blockOwnerDeletion=True)),
    _owned("other", _by()),
    _owned("held", _by(), finalizers=[KEPT]),
    delete("configmaps/parent?propagationPolicy=Background"),
    get("configmaps/child", until=GONE),
    get("configmaps/other", until=GONE),
    get("configmaps/held", until=going),
    LEFT,
    merge_patch("configmaps/held", {"metadata": {"finalizers": None}}),
    LEFT,
)
CHAIN = talk(
    "owner garbage collection",
    "generations of owners",
    _parent(),
    post("configmaps", config_map("child", ownerReferences=[_by()]), save={"child": "metadata.uid"}),
    post(
        "ownings",
        {
            **custom("Owning", "grandchild", {}),
            "metadata": {"name": "grandchild", "ownerReferences": [_by("child")]},
        },
    ),
    delete("configmaps/parent"),
    get("ownings/grandchild", until=GONE),
    get("configmaps/child", until=GONE),
    get("ownings"),
)
FOREGROUND = talk(
    "owner garbage collection",
    "in the foreground",
    _parent(),
    _owned("blocks", _by(blockOwnerDeletion=True), finalizers=[KEPT]),
    _owned("does-not", _by(), finalizers=[KEPT]),
    _owned("goes", _by(blockOwnerDeletion=True)),
    delete("configmaps/parent?propagationPolicy=Foreground"),
    get("configmaps/goes", until=GONE),
    get("configmaps/blocks", until=going),
    get("configmaps/does-not", until=going),
    get("configmaps/parent"),
    merge_patch("configmaps/blocks", {"metadata": {"finalizers": None}}),
    get("configmaps/parent", until=GONE),
    LEFT,
    merge_patch("configmaps/does-not", {"metadata": {"finalizers": None}}),
    LEFT,
)
FOREGROUND_CHAIN = talk(
    "owner garbage collection",
    "in the foreground, generations",
    post("ownings", custom("Owning", "parent", {}), save={"parent": "metadata.uid"}),
    post(
        "ownings",
        {
            **custom("Owning", "child", {}),
            "metadata": {
                "name": "child",
                "ownerReferences": [
                    owner("Owning", "parent", "${parent}", "parity.example.dev/v1", blockOwnerDeletion=True)
                ],
            },
        },
        save={"child": "metadata.uid"},
    ),
    post(
        "configmaps",
        config_map(
            "grandchild",
            finalizers=[KEPT],
            ownerReferences=[
                owner("Owning", "child", "${child}", "parity.example.dev/v1", blockOwnerDeletion=True)
            ],
        ),
    ),
    delete("ownings/parent?propagationPolicy=Foreground"),
    get("configmaps/grandchild", until=going),
    get("ownings"),
    merge_patch("configmaps/grandchild", {"metadata": {"finalizers": None}}),
    get("ownings/parent", until=GONE),
    get("ownings"),
)
ORPHANS = talk(
    "owner garbage collection",
    "orphans",
    _parent(),
    _parent("second"),
    _owned("child", _by(controller=True, blockOwnerDeletion=True)),
    _owned("of-two", _by(), _by("second", controller=True)),
    delete("configmaps/parent?propagationPolicy=Orphan"),
    get("configmaps/parent", until=GONE),
    get("configmaps/child", until={"metadata.ownerReferences": None, "code": 200}),
    get("configmaps/of-two"),
    LEFT,
    delete("configmaps/second", {"propagationPolicy": "Orphan"}),
    get("configmaps/second", until=GONE),
    LEFT,
)
SHARED = talk(
    "owner garbage collection",
    "two owners",
    _parent("first"),
    _parent("second"),
    _owned("child", _by("first"), _by("second")),
    delete("configmaps/first"),
    get("configmaps/child", until={"metadata.ownerReferences.#": 1}),
    delete("configmaps/second"),
    get("configmaps/child", until=GONE),
    LEFT,
)
MISSING = talk(
    "owner garbage collection",
    "owners that are not there",
    _owned("missing", owner("ConfigMap", "nobody", NOBODY)),
    get("configmaps/missing", until=GONE),
    _parent(),
    _owned("other-uid", owner("ConfigMap", "parent", NOBODY)),
    get("configmaps/other-uid", until=GONE),
    _owned("one-of-two", owner("ConfigMap", "nobody", NOBODY), _by()),
    get("configmaps/one-of-two", until={"metadata.ownerReferences.#": 1}),
    _owned("nameless", {"apiVersion": "v1", "kind": "ConfigMap", "uid": NOBODY}),
    _owned("two-controllers", _by(controller=True), owner("Secret", "s", NOBODY, controller=True)),
    _owned("twice", _by(), _by()),
    _owned("event", owner("Event", "e", NOBODY)),
    _owned("badly-versioned", owner("ConfigMap", "parent", NOBODY, "a/b/c")),
    LEFT,
)
ELSEWHERE = talk(
    "owner garbage collection",
    "owners elsewhere",
    post("/api/v1/namespaces", {"metadata": {"name": "${ns}-other"}}),
    post("/api/v1/namespaces/${ns}-other/configmaps", config_map("away"), save={"away": "metadata.uid"}),
    _owned("child", owner("ConfigMap", "away", "${away}")),
    get("configmaps/child", until=GONE),
    get("/api/v1/namespaces/${ns}-other/configmaps/away"),
    post(WIDE_PATH, {**custom("Wide", "${ns}", {})}, save={"wide": "metadata.uid"}),
    _owned("of-cluster", owner("Wide", "${ns}", "${wide}", "parity.example.dev/v1")),
    get("configmaps/of-cluster"),
    delete(f"{WIDE_PATH}/${{ns}}"),
    get("configmaps/of-cluster", until=GONE),
    LEFT,
    cleanup=("/api/v1/namespaces/${ns}-other", f"{WIDE_PATH}/${{ns}}"),
)
CRDS = [OWNING, WIDE]
CONVERSATIONS = [BACKGROUND, CHAIN, FOREGROUND, FOREGROUND_CHAIN, ORPHANS, SHARED, MISSING, ELSEWHERE]
