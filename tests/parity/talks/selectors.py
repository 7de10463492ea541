"""Label and field selectors, good and bad ones."""

from urllib.parse import quote

from parity.conversation import Step, delete, get, post, talk
from parity.objects import configmap, pod, service, widget


def labels(selector: str, resource: str = "configmaps") -> Step:
    return get(f"{resource}?labelSelector={quote(selector)}")


def fields(selector: str, resource: str = "configmaps") -> Step:
    return get(f"{resource}?fieldSelector={quote(selector)}")


CONVERSATIONS = [
    talk(
        "selectors",
        "of labels",
        post("configmaps", configmap("a", labels={"app": "x", "tier": "front", "n": "3"})),
        post("configmaps", configmap("b", labels={"app": "y", "tier": "back", "n": "20"})),
        post("configmaps", configmap("c", labels={"app": "x", "example.dev/role": "z", "empty": ""})),
        *map(
            labels,
            (
                "app=x",
                "app==x,tier",
                "app!=x,app",
                "app in (x, y),tier notin (front)",
                "app,!tier",
                "n>5",
                "n<5",
                "example.dev/role=z",
                "empty=",
                "app in (x),",
                "app in ()",
                "app in (x,)",
            ),
        ),
    ),
    talk(
        "selectors",
        "of labels that cannot be read",
        *map(
            labels,
            (
                "a b",
                "=x",
                "a=b=c",
                "a in x",
                "a in (x",
                "a notin",
                "!",
                "a!b",
                "-a=x",
                "a=-b",
                "a=" + "x" * 64,
                "n>x",
                "a,,b",
                "a=b c",
                "a/b/c=d",
            ),
        ),
        labels("a b", "widgets"),
        labels("a b", "pods"),
        delete("configmaps?labelSelector=a%20b"),
    ),
    talk(
        "selectors",
        "of fields",
        post("pods", pod("a", labels={"app": "x"})),
        post("pods", pod("b", restartPolicy="Never")),
        *(
            fields(selector, "pods")
            for selector in (
                "metadata.name=a",
                "metadata.name!=a",
                "metadata.namespace=elsewhere",
                "status.phase=Pending",
                "status.phase!=Pending",
                "spec.restartPolicy=Never,status.phase=Pending",
                "spec.nodeName=",
                "spec.schedulerName=nobody",
                "spec.hostNetwork=false",
                "spec.foo=x",
                "spec.foo",
                "metadata.labels=x",
                "status.phase",
                "=x",
                "metadata.name=a\\,b",
            )
        ),
    ),
    talk(
        "selectors",
        "of fields of other kinds",
        post("configmaps", configmap("a")),
        post("services", service("s")),
        post("widgets", widget("a", {"colour": "red"})),
        post("widgets", widget("b", {"colour": "blue"})),
        fields("metadata.name=a"),
        fields("data.x=a"),
        fields("spec.clusterIP=None", "services"),
        fields("spec.type=ClusterIP", "services"),
        fields("type=Opaque", "secrets"),
        fields("metadata.name=a", "widgets"),
        fields("spec.colour=red", "widgets"),
        fields("spec.colour!=red", "widgets"),
        fields("spec.size=1", "widgets"),
        fields("involvedObject.kind=Pod,reason!=x", "events"),
        fields("spec.replicas=1", "deployments"),
        fields("status.phase=Active,metadata.name=${ns}", "/api/v1/namespaces"),
        delete("widgets?fieldSelector=spec.colour=blue"),
        get("widgets"),
    ),
]
