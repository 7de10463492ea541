"""Tried inside new namespaces by `faultlab doctor`: prints one JSON object, name -> what went wrong or "".

A program of its own because it must be started inside the namespaces that it tries things in:
`unshare [-Ur] -nmpf --mount-proc --kill-child python -m faultlab_cli.doctor.probe`.
"""

import json
import subprocess
import sys
from collections.abc import Callable

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from faultlab_chaos.agent.capabilities import look
from faultlab_chaos.errors import ChaosError


def main() -> int:
    """Always 0: what cannot be done is said in the output."""
    found = {"namespaces": "", "bridge": _attempt(_bridge), "veth": _attempt(_veth)}
    found |= {each.name: "" if each.available else each.message for each in look("doctor").capabilities}
    json.dump(found, sys.stdout)
    return 0


def _attempt(work: Callable[[], None]) -> str:
    try:
        work()
    except (NetlinkError, ChaosError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def _bridge() -> None:
    with IPRoute() as route:
        route.link("add", ifname="doctor", kind="bridge")


def _veth() -> None:
    """A cable from here into a network of another process, as every pod has one."""
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE) as pod, IPRoute() as route:
        try:
            peer = {"ifname": "eth0", "net_ns_pid": pod.pid}
            route.link("add", ifname="doctor0", kind="veth", peer=peer)
        finally:
            pod.kill()


if __name__ == "__main__":
    sys.exit(main())
