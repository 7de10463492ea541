"""`faultlab-node SYSTEM --config FILE`: one member of one system, as a process."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from faultlab import __version__
from faultlab.contract.member import EXIT_DATA, RaftConfig
from faultlab.runtime.errors import ConfigError, MemberError

_MAX_CONFIG_BYTES = 1024 * 1024


def main(argv: Sequence[str] | None = None) -> None:
    """The console script. Exits 0 after SIGTERM or SIGINT, 2 for bad configuration, 65 (EXIT_DATA) when its
    data is lost or damaged, 1 if it cannot run for another reason."""
    arguments = _parser().parse_args(argv)
    # As PID 1 of its container, a process without a handler would not hear SIGTERM while it still loads.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _run_raft(arguments)
    except MemberError as error:
        sys.exit(_complain(error, error.exit_code))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faultlab-node", description="Runs one member of a distributed system, until SIGTERM."
    )
    parser.add_argument("--version", action="version", version=f"faultlab-node {__version__}")
    systems = parser.add_subparsers(dest="system", required=True, metavar="SYSTEM")
    raft = systems.add_parser(
        "raft",
        help="a key-value store replicated by Raft",
        description="One member of a RaftCluster: clients (RESP), peers and admin HTTP on the ports that"
        " the configuration gives it. A cluster begins when a majority of its members has started with empty"
        ' data directories: once it serves, set "initialState": "existing" in the configuration, so that'
        " members that have lost their data are refused (exit code 65) and do not begin another cluster.",
    )
    raft.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="JSON, the same for all members"
    )
    raft.add_argument(
        "--member",
        default=os.environ.get("POD_NAME"),
        metavar="NAME",
        help="which member this is (default: the environment's POD_NAME)",
    )
    raft.add_argument(
        "--listen", default="0.0.0.0", metavar="ADDRESS", help="address to listen on (default: %(default)s)"
    )
    raft.add_argument(
        "--replace",
        action="store_true",
        help="this member has lost its data: have the leader replace it, and start under the new id. For one"
        " start: each makes a new id, so it does not belong into a unit file",
    )
    return parser


def _run_raft(arguments: argparse.Namespace) -> None:
    config = read_config(arguments.config)
    if not arguments.member:
        raise ConfigError("which member is this? Give --member NAME, or set POD_NAME in the environment")
    # Imported here: --help and a wrong configuration need no event loop.
    from faultlab.raft.errors import BadState, RaftError
    from faultlab.raft.identity import IdentityRefused
    from faultlab.raft.member import RaftMember
    from faultlab.raft.replacing import replace
    from faultlab.raft.storage.errors import DamagedLog
    from faultlab.runtime.process import log_to_stderr, run

    log_to_stderr()
    try:
        if arguments.replace:
            config = replace(config, arguments.member)
        run(lambda: RaftMember(config, arguments.member, arguments.listen))
    except BadState as error:
        message = f"{config.data_dir}: {error}. Restore the directory, or replace the member (--replace)"
        sys.exit(_complain(message, EXIT_DATA))
    except (DamagedLog, IdentityRefused) as error:
        sys.exit(_complain(error, EXIT_DATA))
    except RaftError as error:
        sys.exit(_complain(error, MemberError.exit_code))


def read_config(path: Path) -> RaftConfig:
    """The configuration in `path`; raises ConfigError with what is wrong and where."""
    try:
        if path.stat().st_size > _MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} is longer than {_MAX_CONFIG_BYTES} bytes; is it the configuration?")
        return msgspec.json.decode(path.read_bytes(), type=RaftConfig)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is no configuration of a RaftCluster: {error}") from error


def _complain(error: Exception | str, code: int) -> int:
    """One line on standard error; gives the code back."""
    if logging.getLogger().hasHandlers():
        logging.getLogger("faultlab").error("%s", error)
    else:
        print(f"faultlab-node: {error}", file=sys.stderr)
    return code
