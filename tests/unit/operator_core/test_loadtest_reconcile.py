"""A LoadTest from waiting for its system to its end."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from faultlab.contract.load import LoadConfig, LoadStatus, LoadWindow

from .lab import NAMESPACE, Lab, running_lab

LOAD_ADDRESS = "127.77.1.1"
SPEC = {"system": {"kind": "RaftCluster", "name": "demo"}}


class FakeLoad:
    """The lab's routes of a load pod."""

    def __init__(self) -> None:
        self.phase = "running"
        self.ok = 0
        self.finished = 0
        with socket.create_server((LOAD_ADDRESS, 0)) as taken:
            self.port = taken.getsockname()[1]
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/faultlab/status", self._status),
                web.post("/faultlab/finish", self._finish),
                web.get("/faultlab/history", self._history),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOAD_ADDRESS, self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _status(self, _request: web.Request) -> web.Response:
        window = LoadWindow(400.04, 200.0, 400, 0, 0, 1.234, 9.876)
        status = LoadStatus(
            "demo", self.phase, self.ok, 2, 3, 0, 20, window, 0, "2026-01-01T00:00:00Z", 0  # type: ignore[arg-type]
        )  # fmt: skip
        return web.Response(body=msgspec.json.encode(status))

    async def _finish(self, _request: web.Request) -> web.Response:
        self.finished += 1
        self.phase = "finished"
        return web.Response(status=202)

    async def _history(self, _request: web.Request) -> web.Response:
        return web.Response(body=b'{"a": 1}\n')


@pytest.fixture
async def load() -> AsyncIterator[FakeLoad]:
    made = FakeLoad()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def lab(members: list[Any], load: FakeLoad) -> AsyncIterator[Lab]:
    for member in members:
        member.leader = "demo-0"
    members[0].role = "leader"
    async with running_lab(members, load.port) as made:
        yield made


def phase(lab: Lab) -> str | None:
    return ((lab.get("LoadTest", "demo") or {}).get("status") or {}).get("phase")


async def started(lab: Lab, until: Any) -> None:
    """A load whose pod runs, as far as objects can."""
    lab.apply("RaftCluster", "demo", {})
    lab.apply("LoadTest", "demo", SPEC)
    await until(lambda: lab.get("Pod", "demo-load"))
    lab.set_pod_status("demo-load", {"phase": "Running", "podIP": LOAD_ADDRESS})
    await until(lambda: phase(lab) == "Running")


async def test_a_load_waits_for_its_system_and_says_which(lab: Lab, until: Any) -> None:
    lab.apply("LoadTest", "demo", SPEC)
    await until(lambda: phase(lab) == "Waiting", within_s=1.0)
    condition = lab.condition("LoadTest", "demo", "Ready")
    assert condition["reason"] == "SystemNotFound"
    assert "there is no RaftCluster demo" in condition["message"]
    assert lab.get("Pod", "demo-load") is None
    lab.apply("RaftCluster", "demo", {})
    await until(lambda: lab.get("Pod", "demo-load"))


async def test_a_load_offers_its_operations_to_all_members(lab: Lab, until: Any) -> None:
    await started(lab, until)
    found = lab.get("ConfigMap", "demo-load-config")
    assert found is not None
    config = msgspec.json.decode(found["data"]["config.json"], type=LoadConfig)
    assert [member.host for member in config.members] == [f"demo-{i}.demo.{NAMESPACE}.svc" for i in range(3)]
    assert config.key_prefix


async def test_numbers_and_page_are_in_the_status(lab: Lab, load: FakeLoad, until: Any) -> None:
    load.ok = 100
    await started(lab, until)
    status = lab.get("LoadTest", "demo")["status"]  # type: ignore[index]
    assert (status["operations"], status["ok"], status["fail"], status["info"]) == (105, 100, 2, 3)
    assert (status["operationsPerSecond"], status["p50Ms"], status["p99Ms"]) == (400.0, 1.23, 9.88)
    assert status["url"] == f"http://loads.invalid/{NAMESPACE}/demo-load/"
    load.ok = 5000
    await until(lambda: lab.get("LoadTest", "demo")["status"]["ok"] == 5000)  # type: ignore[index]


async def test_a_load_that_is_told_to_finish_says_so(
    lab: Lab, load: FakeLoad, until: Any, tmp_path: Any
) -> None:
    await started(lab, until)
    await lab.services.loads.finish(NAMESPACE, "demo")
    await until(lambda: phase(lab) == "Finished")
    size = await lab.services.loads.fetch_history(
        NAMESPACE, "demo", tmp_path / "history.ndjson", longest=10**6
    )
    assert (tmp_path / "history.ndjson").read_bytes() == b'{"a": 1}\n'
    assert size == 9
    assert load.finished == 1


async def test_a_load_pod_that_was_deleted_is_not_started_again(lab: Lab, until: Any) -> None:
    await started(lab, until)
    lab.registry.delete("pods", NAMESPACE, "demo-load", grace_seconds=0)
    await until(lambda: phase(lab) == "Failed")
    condition = lab.condition("LoadTest", "demo", "Ready")
    assert condition["reason"] == "PodGone"
    assert "create another LoadTest" in condition["message"]
    assert lab.get("Pod", "demo-load") is None


async def test_a_load_process_that_ended_fails_with_its_exit_code(lab: Lab, until: Any) -> None:
    await started(lab, until)
    ended = {"terminated": {"exitCode": 3, "reason": "Error", "message": "no such member"}}
    container = {
        "name": "load",
        "image": "i",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": ended,
    }
    lab.set_pod_status("demo-load", {"phase": "Failed", "containerStatuses": [container]})
    await until(lambda: phase(lab) == "Failed")
    message = lab.condition("LoadTest", "demo", "Ready")["message"]
    assert "exit code 3" in message
    assert "no such member" in message
