"""The console script `faultlab-operator`: options, logging, and one `Operator` until it is told to stop."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

from faultlab_operator.core.settings import Settings
from faultlab_operator.errors import BadSetting, OperatorError

log = logging.getLogger("faultlab_operator")

UNUSED_CLIENTS = ("kubernetes", "pykube")
"""Clients of Kubernetes that kopf imports wherever they are installed: a second and 25 MB for nothing."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faultlab-operator",
        description="Runs Faultlab's systems, loads, faults and scenarios as custom resources "
        "(RaftCluster, LoadTest, NetworkPartition, Scenario). Settings come from the environment; "
        "options win.",
    )
    parser.add_argument(
        "--namespace",
        action="append",
        metavar="NS",
        help="serve resources of this namespace only (repeatable; FAULTLAB_NAMESPACES, comma-separated; "
        "default: all)",
    )
    parser.add_argument("--image", metavar="IMAGE", help="of member and load pods (FAULTLAB_IMAGE)")
    parser.add_argument("--http-port", type=int, metavar="PORT", help="(FAULTLAB_HTTP_PORT; default 8080)")
    parser.add_argument("--debug", action="store_true", help="log more")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings.from_environment()
    if options.namespace:
        settings = replace(settings, watch_namespaces=tuple(options.namespace))
    if options.image:
        settings = replace(settings, image=options.image)
    if options.http_port is not None:
        settings = replace(settings, http_port=options.http_port)
    return replace(settings, debug=options.debug)


def _log_to_stderr(debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    # kopf tells of each watch that it begins, and of every event at debug level.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    options = _parser().parse_args(argv)
    _log_to_stderr(options.debug)
    try:
        settings = _settings(options)
    except BadSetting as error:
        log.error("%s", error)
        return 2
    sys.modules.update(dict.fromkeys(UNUSED_CLIENTS))  # type: ignore[arg-type]
    from faultlab_operator.process import Operator

    try:
        asyncio.run(Operator(settings).run())
    except OperatorError as error:
        log.error("%s", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
