"""What there is: groups, versions, resources, and what is said about those that are not."""

from parity.conversation import delete, get, post, put, talk
from parity.declared import Match, declared
from parity.objects import WIDGET_CRD, widget

CRDS = [WIDGET_CRD]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

CONVERSATIONS = [
    talk(
        "discovery",
        "groups",
        get("/api"),
        get("/apis"),
        get("/apis/apps"),
        get("/apis/parity.example.dev"),
        get("/apis/coordination.k8s.io"),
        get("/apis/nothing.example.dev"),
        get("/apis/nothing.example.dev/v1"),
        get("/apis/apps/v9"),
        get("/api/v9"),
    ),
    talk(
        "discovery",
        "resources",
        get("/api/v1"),
        get("/apis/apps/v1"),
        get("/apis/batch/v1"),
        get("/apis/policy/v1"),
        get("/apis/coordination.k8s.io/v1"),
        get("/apis/discovery.k8s.io/v1"),
        get("/apis/events.k8s.io/v1"),
        get("/apis/apiextensions.k8s.io/v1"),
        get("/apis/rbac.authorization.k8s.io/v1"),
        get("/apis/networking.k8s.io/v1"),
        get("/apis/storage.k8s.io/v1"),
        get("/apis/authentication.k8s.io/v1"),
        get("/apis/authorization.k8s.io/v1"),
        get("/apis/parity.example.dev/v1"),
    ),
    talk("discovery", "health", get("/healthz"), get("/livez"), get("/readyz"), get("/version")),
    talk(
        "discovery",
        "what is not there",
        get("/nonsense"),
        get("/apis/apps/v9/deployments"),
        get("/apis/apps/v1/namespaces/${ns}/unicorns"),
        get("/api/v1/namespaces/${ns}/unicorns"),
        get("/api/v1/namespaces/${ns}/unicorns/x"),
        get("/api/v1/namespaces/${ns}/nodes"),
        get("/apis/parity.example.dev/v2/widgets"),
        get("/api/v1/namespaces/${ns}/configmaps/x/status"),
        get("/api/v1/pods/x"),
        put("/api/v1/namespaces/${ns}/configmaps", {}),
        put("/apis/parity.example.dev/v1/namespaces/${ns}/widgets", {}),
        post("/api/v1/configmaps", {"metadata": {"name": "x"}}),
        post("/api/v1/namespaces/${ns}/configmaps/x", {"metadata": {"name": "x"}}),
        post("/apis/parity.example.dev/v1/widgets", widget("x")),
        delete("/api/v1/configmaps"),
        delete("/api/v1/namespaces"),
    ),
    talk(
        "discovery",
        "forms of answers",
        get("/apis/apps/v1", accept="application/yaml"),
        get("configmaps/kube-root-ca.crt", accept="application/yaml"),
        get("/apis/apps", accept="application/vnd.unknown"),
        get("configmaps", accept="application/vnd.unknown"),
        get("configmaps", accept="application/vnd.unknown, */*"),
        post("configmaps", "text", content_type="application/vnd.unknown"),
        post("widgets", "text", content_type="application/vnd.unknown"),
        post("configmaps", "{", content_type="application/json"),
        post("configmaps", "[]", content_type="application/json"),
        post("widgets", "{", content_type="application/json"),
        post("widgets", "[]", content_type="application/json"),
        post("configmaps", "a: [", content_type="application/yaml"),
        post("configmaps", "metadata:\n  name: text\ndata:\n  a: b\n", content_type="application/yaml"),
    ),
    talk(
        "discovery",
        "all at once",
        get("/apis", accept=AGGREGATED),
        get("/api", accept=AGGREGATED),
    ),
]

GROUPS_NOT_SERVED = (
    r"(admissionregistration\.k8s\.io|apiregistration\.k8s\.io|autoscaling|certificates\.k8s\.io|"
    r"flowcontrol\.apiserver\.k8s\.io|node\.k8s\.io|resource\.k8s\.io|scheduling\.k8s\.io)"
)
RESOURCES_NOT_SERVED = (
    r"(bindings|componentstatuses|limitranges|namespaces/finalize|nodes/proxy|persistentvolumes(/status)?|"
    r"pods/(attach|binding|ephemeralcontainers|exec|portforward|resize)|podtemplates|"
    r"replicationcontrollers(/(scale|status))?|resourcequotas(/status)?|serviceaccounts/token|"
    r"cronjobs(/status)?|ingressclasses|ingresses(/status)?|ipaddresses|servicecidrs(/status)?|csidrivers|"
    r"csinodes|csistoragecapacities|volumeattachments(/status)?|volumeattributesclasses|selfsubjectreviews|"
    r"localsubjectaccessreviews|selfsubjectrulesreviews|subjectaccessreviews)"
)
SUBRESOURCES_NOT_SERVED = r"(attach|binding|ephemeralcontainers|exec|finalize|portforward|proxy|resize|token)"

DECLARED = [
    declared(
        "not-served",
        "what the lab does not use is neither listed nor served",
        Match(rf"body\.(groups|items)\[{GROUPS_NOT_SERVED}\]", embedded="<missing>"),
        Match(rf"body\.(items\[.*\]\.)?(.*\.)?resources\[{RESOURCES_NOT_SERVED}\]", embedded="<missing>"),
        Match(
            rf"body\.items\[0\]\.versions\[v1\]\.resources\[.*\]\.subresources(\[{SUBRESOURCES_NOT_SERVED}\])?",
            embedded="<missing>",
        ),
    ),
    declared(
        "own-version",
        "`/version` says what answers: a program in Python, named after the Kubernetes that it behaves like",
        Match(r"body\.(compiler|gitCommit|gitVersion|goVersion)", steps=r"discovery/health: GET /version"),
        Match(
            r"body\.(buildDate|gitTreeState|platform)", steps=r"discovery/health: GET /version", always=False
        ),
    ),
    declared(
        "storage-hash-of-crds",
        "CustomResourceDefinitions are stored as v1, in kube-apiserver as v1beta1: their storage hash is "
        "another",
        Match(r"body\.resources\[customresourcedefinitions\]\.storageVersionHash"),
    ),
    declared(
        "server-address",
        "the address that `/api` names is the one that the client used",
        Match(r"body\.serverAddressByClientCIDRs\[0\]\.serverAddress"),
    ),
    declared(
        "order-of-custom-kinds",
        "the kinds of a CRD's group are listed by name; kube-apiserver lists them in no certain order",
        Match(
            r"body\.(resources|items\[parity\.example\.dev\]\.versions\[v1\]\.resources)\.\(order\)",
            steps=r"discovery/(resources: GET /apis/parity\.example\.dev/v1|all at once: GET /apis)",
            always=False,
        ),
    ),
]
