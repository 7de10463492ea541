"""The operator as a process: kopf and all, against the embedded API."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from faultlab_operator.core.settings import Settings

from .lab import NAMESPACE, TOKEN, find, resource_of, serving

REST_MIB = 150
STOPS_WITHIN_S = 3.0


class Process:
    """`faultlab-operator` with its registry."""

    def __init__(self, registry: Any, process: asyncio.subprocess.Process, port: int) -> None:
        self.registry, self.process, self.port = registry, process, port

    def cluster(self, **spec: Any) -> None:
        self.registry.create(
            resource_of("RaftCluster"), {"metadata": {"name": "demo", "namespace": NAMESPACE}, "spec": spec}
        )

    def find(self, kind: str, name: str) -> Any:
        return find(self.registry, kind, name)

    def ready_reason(self) -> str | None:
        conditions = ((self.find("RaftCluster", "demo") or {}).get("status") or {}).get("conditions") or []
        return next((item["reason"] for item in conditions if item["type"] == "Ready"), None)

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.fixture
async def operator(tmp_path: Path, until: Any) -> AsyncIterator[Process]:
    with socket.create_server(("127.0.0.1", 0)) as pages, socket.create_server(("127.0.0.1", 0)) as locust:
        port, locust_port = pages.getsockname()[1], locust.getsockname()[1]
    async with serving() as (registry, address):
        kubeconfig = tmp_path / "kubeconfig"
        named = {"name": "lab"}
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "current-context": "lab",
                    "contexts": [{**named, "context": {"cluster": "lab", "user": "lab"}}],
                    "clusters": [{**named, "cluster": {"server": address}}],
                    "users": [{**named, "user": {"token": TOKEN}}],
                }
            )
        )
        environment = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "FAULTLAB_HTTP_PORT": str(port),
            "FAULTLAB_LOCUST_PORT": str(locust_port),
            "FAULTLAB_DATA_DIR": str(tmp_path / "data"),
            "POD_NAME": "operator",
            "POD_UID": "1",
            "POD_NAMESPACE": NAMESPACE,
        }
        with (tmp_path / "operator.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "faultlab_operator.main", env=environment, stdout=log, stderr=log
            )
        try:
            serves = lambda: b"serving" in (tmp_path / "operator.log").read_bytes()  # noqa: E731
            await until(lambda: serves() or process.returncode is not None, within_s=30)
            assert process.returncode is None, "the operator ended at once"
            yield Process(registry, process, port)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            sys.stdout.write((tmp_path / "operator.log").read_text())


async def test_kopf_brings_changes_and_leaves_no_trace_on_objects(operator: Process, until: Any) -> None:
    operator.cluster(replicas=3)
    await until(lambda: operator.find("StatefulSet", "demo"), within_s=5)
    await until(lambda: operator.ready_reason() == "MembersNotReady", within_s=5)
    metadata = operator.find("RaftCluster", "demo")["metadata"]
    assert not metadata.get("finalizers")
    assert not metadata.get("annotations")


async def test_a_bad_spec_is_refused_within_a_second(operator: Process, until: Any) -> None:
    operator.cluster(resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}})
    began = time.monotonic()
    await until(lambda: operator.ready_reason() == "InvalidSpec", within_s=5)
    assert time.monotonic() - began < 1.0


async def test_it_answers_that_it_is_healthy(operator: Process, http: aiohttp.ClientSession) -> None:
    async with http.get(f"http://127.0.0.1:{operator.port}/healthz") as response:
        assert response.status == 200


async def test_it_ends_soon_after_sigterm(operator: Process, until: Any) -> None:
    operator.cluster(replicas=1)
    await until(lambda: operator.find("StatefulSet", "demo"))
    began = time.monotonic()
    operator.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(operator.process.wait(), 10) == 0
    assert time.monotonic() - began < STOPS_WITHIN_S


async def test_it_makes_the_agents_key_and_holds_the_lock_until_it_ends(operator: Process) -> None:
    assert operator.registry.get("secrets", NAMESPACE, "faultlab-agent")["data"]["key"]
    lease = operator.registry.get(resource_of("Lease"), NAMESPACE, "faultlab-operator")
    assert lease["spec"]["holderIdentity"] == "operator_1"
    operator.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(operator.process.wait(), 10)
    lease = operator.registry.get(resource_of("Lease"), NAMESPACE, "faultlab-operator")
    assert not lease["spec"].get("holderIdentity")


async def test_it_ends_when_another_operator_has_taken_the_lock(operator: Process) -> None:
    taken = {"spec": {"holderIdentity": "somebody else"}}
    operator.registry.patch(resource_of("Lease"), NAMESPACE, "faultlab-operator", taken)
    assert await asyncio.wait_for(operator.process.wait(), 10) == 1
    lease = operator.registry.get(resource_of("Lease"), NAMESPACE, "faultlab-operator")
    assert lease["spec"]["holderIdentity"] == "somebody else"


async def test_at_rest_it_is_small_and_quiet(operator: Process) -> None:
    await asyncio.sleep(2)
    before = operator.cpu_s()
    await asyncio.sleep(5)
    assert operator.cpu_s() - before < 0.05, "1 % of a core"
    assert operator.resident_mib() < REST_MIB


def test_settings_come_from_the_environment() -> None:
    settings = Settings.from_environment(
        {
            "POD_NAMESPACE": "system",
            "POD_NAME": "operator",
            "POD_UID": "1",
            "FAULTLAB_NAMESPACES": "a,b",
            "FAULTLAB_IMAGE": "image:1",
            "FAULTLAB_WORLD": "embedded",
            "FAULTLAB_PAGES_URL": "http://127.0.0.1:1/",
            "FAULTLAB_HTTP_PORT": "81",
        }
    )
    assert (settings.namespace, settings.watch_namespaces) == ("system", ("a", "b"))
    assert settings.identity == "operator_1"
    assert (settings.image, settings.world) == ("image:1", "embedded")
    assert (settings.pages_url, settings.http_port) == ("http://127.0.0.1:1", 81)


def test_defaults_serve_where_nothing_is_said() -> None:
    settings = Settings.from_environment({})
    assert settings.image == "faultlab/faultlab:0.1.0"
    assert settings.http_port == 8080
    assert settings.watch_namespaces == ()
    assert settings.identity != Settings.from_environment({}).identity
