"""Lists: whole, in pages, of some version, of metadata, of all namespaces."""

from parity.conversation import get, post, talk

CONVERSATIONS = [
    talk(
        "list",
        "configmaps",
        get("configmaps?labelSelector=mine"),
        post("configmaps", {"metadata": {"name": "b", "labels": {"mine": "1"}}, "data": {"k": "v"}}),
        post("configmaps", {"metadata": {"name": "a", "labels": {"mine": "2"}}}),
        post("configmaps", {"metadata": {"name": "c", "labels": {"mine": "3"}}}),
        get("configmaps"),
    ),
]
