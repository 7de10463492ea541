"""What /etc/hosts says in each pod: every Service and every member of a headless one, from Endpoints. Pure.

There is no virtual address and no proxy: any Service's name stands for the addresses of its pods, on the
pods' own ports. A name with several addresses has a line for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

CLUSTER_DOMAIN = "cluster.local"
HOST_CONF = "multi on\n"
"""/etc/host.conf of pods: glibc returns all addresses of a name."""

Object = Mapping[str, Any]
Line = tuple[str, tuple[str, ...]]
"""An address and the names it has."""


def names_of(host: str, namespace: str, seen_from: str) -> tuple[str, ...]:
    """All spellings of `host` (SERVICE or POD.SERVICE) of `namespace` in a pod of namespace `seen_from`."""
    qualified = f"{host}.{namespace}"
    names = (qualified, f"{qualified}.svc", f"{qualified}.svc.{CLUSTER_DOMAIN}")
    return (host, *names) if namespace == seen_from else names


def service_lines(endpoints: Iterable[Object], seen_from: str) -> list[Line]:
    """Lines for all ready addresses of the Endpoints, in an order that depends on nothing but them."""
    lines: list[Line] = []
    for entry in sorted(endpoints, key=lambda e: (e["metadata"]["namespace"], e["metadata"]["name"])):
        service, namespace = entry["metadata"]["name"], entry["metadata"]["namespace"]
        for subset in entry.get("subsets") or ():
            for address in subset.get("addresses") or ():
                own = address.get("hostname")
                if own:
                    lines.append((address["ip"], names_of(f"{own}.{service}", namespace, seen_from)))
                lines.append((address["ip"], names_of(service, namespace, seen_from)))
    return sorted(set(lines), key=lambda line: (line[1], line[0]))


def hosts_file(lines: Iterable[Line], *, hostname: str, address: str, own_names: tuple[str, ...] = ()) -> str:
    """The text of one pod's /etc/hosts: loopback, itself, then the services."""
    own = " ".join(dict.fromkeys((*own_names, hostname)))
    head = ["# Kept by the embedded node; changes are lost.", "127.0.0.1\tlocalhost", f"{address}\t{own}"]
    return "\n".join([*head, *(f"{ip}\t{' '.join(names)}" for ip, names in lines)]) + "\n"
