"""Parts of node and network that are functions of their inputs."""

from __future__ import annotations

import asyncio
import base64
import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from faultlab_embedded.kinds.columns import BUILTIN_COLUMNS
from faultlab_embedded.network.names import hosts_file, service_lines
from faultlab_embedded.network.pool import AddressPool, PoolExhausted
from faultlab_embedded.node import logs
from faultlab_embedded.node.backoff import BackOff
from faultlab_embedded.node.environment import ConfigError, container_environment, expand, quantity_milli
from faultlab_embedded.node.images import Image, ImageTable, UnknownImage, normalize
from faultlab_embedded.node.payload import write_payload
from faultlab_embedded.node.probes import Streak, Timing
from faultlab_embedded.node.status import ContainerState, phase, pod_status, waiting
from faultlab_embedded.node.unsupported import unsupported
from faultlab_embedded.world.pages import is_loopback

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"a": "1", "b": "2"}},
    "spec": {"containers": [{"name": "c"}], "nodeName": "embedded"},
    "status": {"podIP": "10.0.0.9"},
}


# Addresses


def test_released_address_comes_again_only_after_all_others() -> None:
    pool = AddressPool("10.0.0.0/24", 10, 4)
    first = [pool.take() for _ in range(3)]
    pool.release(first[0])
    assert pool.take() == "10.0.0.13"
    assert pool.take() == first[0]


def test_full_pool_says_so_and_hands_out_no_address_twice() -> None:
    pool = AddressPool("10.0.0.0/24", 10, 4)
    assert len({pool.take() for _ in range(4)}) == 4
    with pytest.raises(PoolExhausted, match="all 4"):
        pool.take()


# Names


def endpoints(namespace: str, name: str, *addresses: tuple[str, str]) -> dict[str, Any]:
    listed = [{"ip": ip, "hostname": host} if host else {"ip": ip} for ip, host in addresses]
    return {"metadata": {"namespace": namespace, "name": name}, "subsets": [{"addresses": listed}]}


def resolve(text: str, name: str) -> list[str]:
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return [row[0] for row in rows if name in row[1:]]


def test_service_name_stands_for_all_its_pods_and_each_pod_has_its_own() -> None:
    lines = service_lines([endpoints("ns", "web", ("10.0.0.1", "web-0"), ("10.0.0.2", "web-1"))], "ns")
    text = hosts_file(lines, hostname="web-0", address="10.0.0.1")
    for name in ("web", "web.ns", "web.ns.svc", "web.ns.svc.cluster.local"):
        assert resolve(text, name) == ["10.0.0.1", "10.0.0.2"]
    for name in ("web-1.web", "web-1.web.ns", "web-1.web.ns.svc", "web-1.web.ns.svc.cluster.local"):
        assert resolve(text, name) == ["10.0.0.2"]


def test_short_names_belong_to_the_own_namespace() -> None:
    both = [endpoints("other", "web", ("10.0.0.9", "")), endpoints("ns", "web", ("10.0.0.1", ""))]
    text = hosts_file(service_lines(both, "ns"), hostname="x", address="10.0.0.5")
    assert resolve(text, "web") == ["10.0.0.1"]
    assert resolve(text, "web.other") == ["10.0.0.9"]


# Environment


def test_references_expand_and_unknown_ones_stay() -> None:
    assert expand("$(A)-$(B)-$$(A)", {"A": "1"}) == "1-$(B)-$(A)"


def test_environment_comes_from_all_sources_in_order() -> None:
    objects = {
        ("configmaps", "cm"): {"data": {"X": "cm", "Y": "cm"}},
        ("secrets", "s"): {"data": {"Y": base64.b64encode(b"secret").decode()}},
    }
    container = {
        "name": "c",
        "envFrom": [{"configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['b']"}}},
            {"name": "URL", "value": "http://$(IP):1/$(Y)"},
            {"name": "X", "value": ""},
            {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "no", "optional": True}}},
        ],
    }
    env = container_environment(POD, container, {"PATH": "/bin"}, lambda *key: objects.get(key))
    assert env == {
        "PATH": "/bin", "X": "", "Y": "secret", "IP": "10.0.0.9", "LABEL": "2", "URL": "http://10.0.0.9:1/secret",
    }  # fmt: skip


def test_missing_secret_is_named() -> None:
    container = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "nope", "key": "k"}}}]}
    with pytest.raises(ConfigError, match='secret "nope" not found'):
        container_environment(POD, container, {}, lambda *_: None)


@pytest.mark.parametrize(
    ("text", "milli"), [("100m", 100), ("2", 2000), ("64Mi", 64 * 2**20 * 1000), ("1k", 10**6)]
)
def test_quantities(text: str, milli: int) -> None:
    assert quantity_milli(text) == milli


# Images


def test_images_match_with_and_without_registry_and_tag() -> None:
    table = ImageTable((Image("redis:*", ("/r",), command=("redis-server",)),))
    for name in ("redis", "redis:7", "docker.io/library/redis:6.2", "redis@sha256:00"):
        assert table.find(name).pattern == "redis:*"
    assert normalize("localhost:5000/x") == "localhost:5000/x:latest"
    with pytest.raises(UnknownImage, match=r'"nginx".*redis:\*'):
        table.find("nginx")


def test_image_command_serves_only_where_the_container_has_none() -> None:
    image = Image("redis:*", (), command=("redis-server",))
    assert image.argv([], []) == ["redis-server"]
    assert image.argv([], ["--port", "1"]) == ["redis-server", "--port", "1"]
    assert image.argv([], ["redis-cli", "ping"]) == ["redis-cli", "ping"]
    assert image.argv(["sh"], ["-c"]) == ["sh", "-c"]
    with pytest.raises(ValueError, match="no default command"):
        Image("x", ()).argv([], ["--flag"])


def test_what_the_real_image_builds_in_is_appended_unless_the_container_says_otherwise() -> None:
    image = Image("redis:*", (), command=("redis-server",), appended=("--protected-mode", "no"))
    assert image.argv([], []) == ["redis-server", "--protected-mode", "no"]
    assert image.argv(["redis-server", "/c/my.conf"], [])[1:] == ["/c/my.conf", "--protected-mode", "no"]
    assert image.argv([], ["/c/my.conf"])[:2] == ["redis-server", "/c/my.conf"]
    for asked in (["redis-server", "--protected-mode", "yes"], ["redis-server", "--version"], ["redis-cli"]):
        assert image.argv(asked, []) == asked
    assert ImageTable.from_json(ImageTable((image,)).to_json()).images == (image,)


# Volumes of files


def test_changed_payload_is_seen_through_links_and_removed_keys_go(tmp_path: Path) -> None:
    where = tmp_path / "v"
    assert write_payload(where, {"a": (b"1", 0o644), "d/b": (b"2", 0o600)})
    assert (where / "a").read_bytes() == b"1"
    held = (where / "a").open("rb")
    assert not write_payload(where, {"a": (b"1", 0o644), "d/b": (b"2", 0o600)})
    assert write_payload(where, {"a": (b"new", 0o644)})
    assert (where / "a").read_bytes() == b"new"
    assert not (where / "d").exists()
    assert held.read() == b"1"
    held.close()


# Restarts, probes, phases


def test_backoff_begins_at_once_then_doubles_to_five_minutes_and_forgets() -> None:
    backoff = BackOff()
    delays = [backoff.after_run(1) for _ in range(8)]
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.after_run(600) == 0


def test_probe_verdict_needs_its_threshold_in_a_row() -> None:
    streak = Streak(Timing(0, 1, 1, success=2, failure=3))
    answers = [False, False, True, False, False, False, True, True]
    assert [streak.add(a) for a in answers] == [None, None, None, None, None, False, None, True]


def ended(code: int) -> ContainerState:
    return ContainerState("c", "i", state={"terminated": {"exitCode": code}}, final=True)


def test_a_pod_whose_init_containers_still_work_is_shown_at_the_one_that_does() -> None:
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "i0"}, {"name": "i1"}]}
    pod = {"metadata": {}, "spec": spec}
    working = ContainerState("i1", "i", state={"running": {}}, started=True, ready=True)
    main = ContainerState("c", "i")
    status = pod_status(pod, [ended(0), working], [main], pod_ip="", host_ip="1.2.3.1", start_time="")
    assert [init["ready"] for init in status["initContainerStatuses"]] == [True, False]
    assert status["containerStatuses"][0]["state"] == waiting("PodInitializing")
    shown = next(column for column in BUILTIN_COLUMNS["pods"] if column.name == "Status")
    assert shown.value({**pod, "status": status}) == "Init:1/2"


def test_phase_follows_the_containers() -> None:
    running = ContainerState("c", "i", state={"running": {}})
    crashed = ContainerState(
        "c", "i", state=waiting("CrashLoopBackOff"), last={"terminated": {"exitCode": 1}}
    )
    new = ContainerState("c", "i")
    assert phase([], [new]) == "Pending"
    assert phase([], [running, new]) == "Pending"
    assert phase([], [running, crashed]) == "Running"
    assert phase([], [ended(0), ended(1)]) == "Failed"
    assert phase([], [ended(0)]) == "Succeeded"
    assert phase([new], [new]) == "Pending"
    assert phase([ended(1)], [new]) == "Failed"


def test_transition_time_stays_where_a_condition_did_not_change() -> None:
    state = ContainerState("c", "i", state={"running": {}}, ready=True)
    old = {"type": "Ready", "status": "True", "lastTransitionTime": "2001-01-01T00:00:00Z"}
    pod = {**POD, "status": {"conditions": [old, {"type": "example.com/mine", "status": "True"}]}}
    status = pod_status(pod, [], [state], pod_ip="1.2.3.4", host_ip="1.2.3.1", start_time="")
    conditions = {c["type"]: c for c in status["conditions"]}
    assert conditions["Ready"]["lastTransitionTime"] == "2001-01-01T00:00:00Z"
    assert conditions["ContainersReady"]["lastTransitionTime"] != "2001-01-01T00:00:00Z"
    assert "example.com/mine" in conditions


def test_what_a_pod_asks_for_in_vain_is_named_with_what_to_do() -> None:
    exec_hook = {"exec": {"command": ["true"]}}
    plain = {"name": "c", "lifecycle": {"preStop": exec_hook}, "readinessProbe": {"tcpSocket": {"port": 1}}}
    assert unsupported({"containers": [plain], "initContainers": [{"name": "i"}]}) == ""
    odd = {"name": "c", "lifecycle": {"postStart": exec_hook, "preStop": {"sleep": {"seconds": 1}}}}
    spec = {
        "shareProcessNamespace": True,
        "initContainers": [{"name": "side", "restartPolicy": "Always"}],
        "containers": [{**odd, "livenessProbe": {"grpc": {"port": 1}}}],
    }
    said = unsupported(spec)
    for word in (
        "shareProcessNamespace",
        "side: restartPolicy Always",
        "postStart",
        "preStop",
        "livenessProbe",
    ):
        assert word in said


# Logs


async def collect(path: Path, log: logs.ContainerLog | None, **options: Any) -> str:
    asked = {"follow": False, "tail_lines": None, "timestamps": False, **options}
    return b"".join([piece async for piece in logs.read(path, log, **asked)]).decode()


async def test_streams_keep_their_lines_apart_and_the_last_without_newline(tmp_path: Path) -> None:
    log = logs.ContainerLog(tmp_path / "0.log")
    log.feed("stdout", b"one\ntw")
    log.feed("stderr", b"err\n")
    log.feed("stdout", b"o\nlast")
    log.feed("stdout", b"")
    log.feed("stderr", b"")
    assert await collect(log.path, log) == "one\nerr\ntwo\nlast\n"
    assert await collect(log.path, log, tail_lines=2) == "two\nlast\n"
    assert (await collect(log.path, log, timestamps=True)).splitlines()[0].endswith("Z one")


async def test_lines_older_than_asked_are_left_out_before_the_last_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    stamps = ("2026-01-01T00:00:00.900000Z", "2026-01-01T00:00:01.000000Z", "2026-01-01T00:00:02.000000Z")
    path.write_text("".join(f"{stamp} stdout F {stamp[17:19]}\n" for stamp in stamps))
    since = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert await collect(path, None, since=since) == "01\n02\n"
    assert await collect(path, None, since=since, tail_lines=1) == "02\n"
    assert await collect(path, None, since=datetime(2027, 1, 1, tzinfo=UTC), tail_lines=3) == ""


async def test_follower_gets_every_line_once_across_rotation(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 4000)
    log = logs.ContainerLog(tmp_path / "0.log")
    log.feed("stdout", b"0\n")
    reading = asyncio.create_task(collect(log.path, log, follow=True))
    for number in range(1, 300):
        log.feed("stdout", f"{number}\n".encode())
        await asyncio.sleep(0)
    log.feed("stdout", b"")
    log.feed("stderr", b"")
    text = await asyncio.wait_for(reading, 5)
    assert text.split() == [str(number) for number in range(300)]
    assert log.path.stat().st_size <= 4000


def test_overlong_line_is_cut_and_comes_back_whole(tmp_path: Path) -> None:
    long = b"x" * (logs.MAX_LINE_BYTES * 2 + 5)

    async def write_and_read() -> str:
        log = logs.ContainerLog(tmp_path / "0.log")
        log.feed("stdout", long + b"\n")
        return await collect(log.path, log)

    assert asyncio.run(write_and_read()) == long.decode() + "\n"


# Pages


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *itertools.product(("localhost:1", "127.0.0.1", "[::1]:80"), (True,)),
        *itertools.product(("evil.com", "127.0.0.1.evil.com", "", "localhost.evil.com:80", "[bad"), (False,)),
    ],
)
def test_only_loopback_names_pass_as_host(host: str, local: bool) -> None:
    assert is_loopback(host) is local
