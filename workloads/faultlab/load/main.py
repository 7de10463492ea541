"""`faultlab-load --config FILE`: checks the configuration, then becomes Locust."""

import argparse
import os
import sys
import time
from pathlib import Path

import msgspec

from faultlab.contract.load import LoadConfig
from faultlab.contract.ports import LOCUST_PORT
from faultlab.load.login import read_login

EPILOG = "Locust's page is on the port; beside it /faultlab/status, /faultlab/finish, /faultlab/history."


def main() -> None:
    """Exits 2 with one line where the configuration is not usable; else with Locust's code."""
    options = _parser().parse_args()
    try:
        config = msgspec.json.decode(options.config.read_bytes(), type=LoadConfig)
        problem = _problem(config)
        read_login(config)
    except (OSError, msgspec.DecodeError) as error:
        problem = str(error)
    if problem:
        print(f"faultlab-load: {options.config}: {problem}", file=sys.stderr)
        sys.exit(2)
    os.environ["FAULTLAB_LOAD_CONFIG"] = str(options.config)
    os.environ["FAULTLAB_LOAD_START_NS"] = str(time.monotonic_ns())
    sys.argv = ["locust", *_locust_arguments(config, options)]
    from locust.main import main as locust_main  # patches everything: not before the decision is made

    locust_main()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="faultlab-load", description="Offers load to the members and records it.", epilog=EPILOG
    )
    parser.add_argument("--config", type=Path, required=True, help="a LoadConfig as JSON")
    parser.add_argument(
        "--port", type=int, default=LOCUST_PORT, help="of Locust's page (default %(default)s)"
    )
    parser.add_argument("--listen", default="0.0.0.0", help="address of the page (default %(default)s)")
    parser.add_argument("--headless", action="store_true", help="no page: run for --run-time, then finish")
    parser.add_argument("--run-time", default="30s", help="with --headless (default %(default)s)")
    return parser


def _problem(config: LoadConfig) -> str | None:
    """What makes a well-formed configuration unusable, or None."""
    if not config.members:
        return "members is empty; name at least one"
    if config.users < 1 or config.workers < 1 or config.keys.count < 1:
        return "users, workers and keys.count must be at least 1"
    if config.users < config.workers:
        return f"{config.workers} workers for {config.users} users; use at most one worker for each user"
    weights = msgspec.structs.astuple(config.mix)
    if min(weights) < 0:
        return "mix: weights must not be negative"
    if not any(weights):
        return "mix: at least one weight must be above 0"
    rate = config.arrival.operations_per_second
    if config.arrival.mode == "constantRate" and (rate is None or rate <= 0):
        return "arrival: constantRate needs operationsPerSecond above 0"
    return None


def _locust_arguments(config: LoadConfig, options: argparse.Namespace) -> list[str]:
    arguments = [
        "--locustfile",
        str(Path(__file__).with_name("locustfile.py")),
        "--users",
        str(config.users),
        "--spawn-rate",
        str(config.users),
        "--stop-timeout",
        "3",
    ]
    if config.workers > 1:
        arguments += ["--processes", str(config.workers)]
    if options.headless:
        return [*arguments, "--headless", "--only-summary", "--run-time", options.run_time]
    return [*arguments, "--autostart", "--web-host", options.listen, "--web-port", str(options.port)]
