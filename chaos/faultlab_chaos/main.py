"""`faultlab-agent`: the command line of the node agent, and how it starts and ends."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from aiohttp import web

from faultlab_chaos.agent.containers import ContainerFinder
from faultlab_chaos.agent.server import Agent
from faultlab_chaos.agent.successor import ApiServer, Successor, find_successor
from faultlab_chaos.contract.wire import AGENT_PORT
from faultlab_chaos.errors import KeyFileError

_log = logging.getLogger("faultlab_chaos")
_DEFAULT_KEY_FILE: Final = Path("/etc/faultlab/agent/key")
_DEFAULT_RUNTIME_ROOT: Final = Path("/run/containerd/runc/k8s.io")
_DEFAULT_DAEMON_SET: Final = "faultlab-agent"
_MIN_KEY_LENGTH: Final = 16
_SHUTDOWN_S: Final = 1.0
_LEASES_OVER_S: Final = 4.5
"""The operator's leases last 3 s, and a sweep lets a second pass. With the question, within a pod's grace."""
_USAGE_ERROR: Final = 2

_EPILOG: Final = """\
How injections end: by the owner's word (PUT without them); with their lease, in the kernel, when nobody
renews them, even if this program is killed; and when this program is told to end (SIGTERM, SIGINT), as
--at-end says:
  heal   at once.
  leave  they stand until their lease, and the next agent on the node takes them up.
  ask    in a DaemonSet's pod: as `leave` while the DaemonSet stands, as `heal` when it or its namespace is
         gone or being deleted, or this pod's account is. Without an answer within 1 s, as `leave`.
A new agent finds what stands by the names of the tables in the pods that --runtime-root lists.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Returns 0 after a clean end, 2 if it could not start."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        host, port = _split_listen(options.listen)
        key = read_key(options.key_file)
    except (KeyFileError, ValueError) as error:
        print(f"faultlab-agent: {error}", file=sys.stderr)
        return _USAGE_ERROR
    finder = ContainerFinder(options.runtime_root or [_DEFAULT_RUNTIME_ROOT])
    try:
        ending = partial(_heals_at_end, options.at_end, options.daemon_set)
        asyncio.run(_serve(finder, key, host, port, options.node, ending))
    except OSError as error:
        print(f"faultlab-agent: cannot listen on {options.listen}: {error.strerror}", file=sys.stderr)
        return _USAGE_ERROR
    return 0


def read_key(path: Path) -> bytes:
    """The shared key, surrounding white space removed. Raises KeyFileError without a usable one."""
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise KeyFileError(
            f"cannot read the key file {path}: {error.strerror}; mount the Secret faultlab-agent there, or "
            "name another with --key-file"
        ) from error
    if len(key) < _MIN_KEY_LENGTH:
        raise KeyFileError(
            f"the key in {path} has {len(key)} bytes: expected {_MIN_KEY_LENGTH} or more "
            "(head -c 32 /dev/urandom | base64)"
        )
    return key


async def _heals_at_end(at_end: str, daemon_set: str) -> bool:
    """Whether what stands is to be undone now."""
    why = f"--at-end {at_end}"
    if at_end == "ask":
        successor = await find_successor(ApiServer.of_this_pod(daemon_set))
        why = f"successor of DaemonSet {daemon_set}: {successor.value}"
        at_end = "heal" if successor is Successor.NONE else "leave"
        if successor is Successor.UNKNOWN:
            # Perhaps nobody follows: then the empty tables are still this agent's to remove.
            _log.info("ending: injections are left to their leases, and what nobody renewed is removed then")
            await asyncio.sleep(_LEASES_OVER_S)
    heals = at_end == "heal"
    _log.info("ending: injections are %s (%s)", "healed" if heals else "left to their leases", why)
    return heals


async def _serve(
    finder: ContainerFinder,
    key: bytes,
    host: str,
    port: int,
    node: str,
    heals_at_end: Callable[[], Awaitable[bool]],
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = Agent(finder, key, _version(), heals_at_end).app()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        _log.info("agent of node %s listens on %s:%d", node or "(unnamed)", host, port)
        await stop.wait()
    finally:
        await runner.cleanup()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faultlab-agent",
        description="The node agent: cuts pods off from each other for as long as somebody wants it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--listen",
        default=f"0.0.0.0:{AGENT_PORT}",
        metavar="HOST:PORT",
        help="where to serve HTTP (default %(default)s)",
    )
    parser.add_argument(
        "--key-file",
        type=Path,
        default=_DEFAULT_KEY_FILE,
        metavar="FILE",
        help="the key that callers send as bearer token (default %(default)s)",
    )
    parser.add_argument(
        "--runtime-root",
        type=Path,
        action="append",
        metavar="DIR",
        help=f"where ID/state.json of containers are; repeatable (default {_DEFAULT_RUNTIME_ROOT})",
    )
    parser.add_argument(
        "--node", default=os.environ.get("NODE_NAME", ""), metavar="NAME", help="for the log (env NODE_NAME)"
    )
    parser.add_argument(
        "--at-end",
        choices=("heal", "leave", "ask"),
        default="heal",
        help="what SIGTERM does to injections that stand (default %(default)s)",
    )
    parser.add_argument(
        "--daemon-set",
        default=os.environ.get("FAULTLAB_DAEMON_SET", "") or _DEFAULT_DAEMON_SET,
        metavar="NAME",
        help=f"for --at-end ask: whose pod this is, in the namespace POD_NAMESPACE "
        f"(env FAULTLAB_DAEMON_SET, default {_DEFAULT_DAEMON_SET})",
    )
    return parser


def _split_listen(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--listen {listen!r}: expected HOST:PORT, as 0.0.0.0:{AGENT_PORT}")
    return host, int(port)


def _version() -> str:
    try:
        return version("faultlab")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
