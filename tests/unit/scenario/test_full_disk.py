"""A disk that is full ends a run, with the reason; it does not end the operator."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from faultlab_operator.errors import StorageError
from faultlab_operator.members import LoadsHub
from faultlab_operator.scenario.reconciler import ScenarioReconciler

from .test_scenario_reconciler import Lab, run

SCRIPT = Path(__file__).with_name("full_disk.py")
MOUNT = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'


def outcome(tmp_path: Path, moment: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(tmp_path),
            sys.executable, str(SCRIPT), str(tmp_path), moment,
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("moment", ["WarmUp", "Settle", "Check"])
def test_a_disk_that_fills_up_ends_the_run_inconclusive_with_the_reason(tmp_path: Path, moment: str) -> None:
    after = outcome(tmp_path, moment)["after"]
    assert (after["phase"], after["verdict"]) == ("Done", "Inconclusive")
    assert any("No space left on device" in reason for reason in after["reasons"]), after["reasons"]
    assert all(fault.get("healedAt") for fault in after["faults"])


def test_a_run_waits_for_room_to_begin_in_and_says_so(tmp_path: Path) -> None:
    said = outcome(tmp_path, "start")
    conditions = {each["type"]: each for each in said["before"]["conditions"]}
    assert "could not be made: No space left" in conditions["Progressing"]["message"]
    assert said["before"].get("phase", "Pending") == "Pending"
    assert said["after"]["phase"] == "Done"


async def test_a_history_that_can_never_be_had_ends_the_run_at_once(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    asked = 0

    async def refuse(*_: Any, **__: Any) -> int:
        nonlocal asked
        asked += 1
        raise StorageError("the history is longer than 5 bytes: use a shorter run")

    lab.hub.fetch_history = refuse  # type: ignore[method-assign]
    key = await lab.scenario()
    reconciler = ScenarioReconciler(lab.services, lab.store)
    status = await run(lab, key, reconciler)
    await reconciler.close()
    assert asked == 1
    assert status["verdict"] == "Inconclusive"
    assert any("longer than 5 bytes" in reason for reason in status["reasons"])


@pytest.fixture
async def history_of_a_load(tmp_path: Path) -> Any:
    """A load that has 300,000 bytes of history, and what fetches it."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 300_000)

    async def status(_request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    app = web.Application()
    app.add_routes([web.get("/faultlab/history", answer), web.get("/faultlab/status", status)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as http:
        hub = LoadsHub(http, port=runner.addresses[0][1])
        hub.follow("lab", "demo", "127.0.0.1")
        path = tmp_path / "history.ndjson"

        async def fetch(longest: int = 10**6) -> int:
            return await hub.fetch_history("lab", "demo", path, longest=longest)

        yield fetch, path
        await hub.close()
    await runner.cleanup()


async def test_a_history_longer_than_its_bound_is_refused_and_leaves_nothing(history_of_a_load: Any) -> None:
    fetch, path = history_of_a_load
    with pytest.raises(StorageError, match="longer than 299999 bytes"):
        await fetch(299_999)
    assert list(path.parent.iterdir()) == []
    assert await fetch(300_000) == 300_000


async def test_a_full_disk_while_a_history_comes_in_is_told_from_a_broken_connection(
    history_of_a_load: Any,
) -> None:
    fetch, path = history_of_a_load
    path.with_name("history.ndjson.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left on device; give the operator"):
        await fetch()
    assert list(path.parent.iterdir()) == []
