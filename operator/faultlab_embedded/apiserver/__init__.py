"""The HTTP face of the registry: paths, formats and streams as kube-apiserver has them.

What differs from Kubernetes, on purpose:
- Any valid token may do anything: RBAC objects are stored and not enforced; the same goes for
NetworkPolicies.
- JSON and YAML only. A protobuf body gets 415 with a hint, OpenAPI is v3 only.
- Lists are of the present: a continued list goes on in the present state, an exact older version is 410.
- Field ownership starts with the first apply of an object (see `store.apply`).
- CRD conversion between versions changes apiVersion alone; a CRD is Established as soon as it is stored.
- Services are headless. Pods start by spec.nodeName being patched; exec, attach and port-forward are 405,
everything goes through pods/proxy and services/proxy, which do not upgrade connections.
- CEL rules run without a cost limit; schemas are checked for being structural as far as this server relies
on it.
- Events are kept in a bounded number instead of for an hour.
"""
