"""The agents' key: made once, never overwritten, read again when an agent refuses it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from faultlab_operator.core import Cache, SystemClock
from faultlab_operator.errors import SecretUnusable
from faultlab_operator.faults import agents as agents_module
from faultlab_operator.faults.agents import Agents
from faultlab_operator.faults.errors import AgentError
from faultlab_operator.kube.agent_key import REREAD_S, SECRET, AgentKey
from faultlab_operator.kube.shared_key import RANDOM_BYTES

from .lab import NAMESPACE, client, serving

NODE_ADDRESS = "127.77.0.9"
NODE = "worker"


class TurnedClock(SystemClock):
    at = 0.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
async def api() -> AsyncIterator[Any]:
    async with serving() as (registry, address), client(address, Cache()) as kube:
        yield registry, kube


def put_key(registry: Any, key: str | bytes) -> None:
    raw = key.encode() if isinstance(key, str) else key
    data = {"key": base64.b64encode(raw).decode()}
    metadata = {"name": SECRET, "namespace": NAMESPACE}
    registry.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def stored_key(registry: Any) -> str:
    return base64.b64decode(registry.get("secrets", NAMESPACE, SECRET)["data"]["key"]).decode()


async def test_an_absent_secret_is_made_with_a_random_key(api: Any) -> None:
    registry, kube = api
    key = AgentKey(kube, SystemClock(), NAMESPACE)
    await key.establish()
    assert stored_key(registry) == key.value
    first = key.value
    registry.delete("secrets", NAMESPACE, SECRET)
    await key.establish()
    assert stored_key(registry) == key.value != first
    assert len(key.value) == 2 * RANDOM_BYTES


async def test_the_secret_that_is_there_is_taken_and_stays(api: Any) -> None:
    registry, kube = api
    put_key(registry, "from-the-first-start\n")
    key = AgentKey(kube, SystemClock(), NAMESPACE)
    await key.establish()
    assert key.value == "from-the-first-start"
    assert stored_key(registry) == "from-the-first-start\n"


async def test_two_operators_at_once_end_with_one_key(api: Any) -> None:
    registry, kube = api
    both = [AgentKey(kube, SystemClock(), NAMESPACE) for _ in range(2)]
    await asyncio.gather(*(key.establish() for key in both))
    assert both[0].value == both[1].value == stored_key(registry)


@pytest.mark.parametrize("held", [None, "", "short", b"\xff" * 32, "with a\nline break in it"])
async def test_an_unusable_key_is_refused_with_what_to_do_and_left_alone(api: Any, held: Any) -> None:
    registry, kube = api
    if held is None:
        registry.create("secrets", {"metadata": {"name": SECRET, "namespace": NAMESPACE}})
    else:
        put_key(registry, held)
    before = registry.get("secrets", NAMESPACE, SECRET)
    with pytest.raises(SecretUnusable, match=f"kubectl -n {NAMESPACE} delete secret {SECRET}"):
        await AgentKey(kube, SystemClock(), NAMESPACE).establish()
    assert registry.get("secrets", NAMESPACE, SECRET) == before


async def test_a_refused_key_is_read_again_at_most_so_often(api: Any) -> None:
    registry, kube = api
    clock = TurnedClock()
    key = AgentKey(kube, clock, NAMESPACE)
    await key.establish()
    first = key.value
    put_key(registry, "another-key-of-length")
    assert not await key.renew(first), "it was read only just now"
    clock.at += REREAD_S
    assert await key.renew(first)
    assert key.value == "another-key-of-length"
    assert await key.renew(first), "who asks with the old one learns of it without a read"
    clock.at += REREAD_S
    assert not await key.renew(key.value)


async def test_a_key_that_was_spoilt_meanwhile_is_not_taken(api: Any) -> None:
    registry, kube = api
    clock = TurnedClock()
    key = AgentKey(kube, clock, NAMESPACE)
    await key.establish()
    first = key.value
    put_key(registry, "short")
    clock.at += REREAD_S
    assert not await key.renew(first)
    assert key.value == first


class FakeAgent:
    """Answers whoever has its key."""

    def __init__(self) -> None:
        self.key, self.asked = "", 0

    async def standing(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.Response(status=401, text="wrong key")
        return web.json_response({"injections": []})


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeAgent]:
    fake = FakeAgent()
    app = web.Application()
    app.add_routes([web.get("/v1/injections", fake.standing)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, NODE_ADDRESS, 0).start()
    monkeypatch.setattr(agents_module, "AGENT_PORT", runner.addresses[0][1])
    yield fake
    await runner.cleanup()


@pytest.fixture
async def agents(api: Any) -> AsyncIterator[tuple[Agents, AgentKey, TurnedClock]]:
    _, kube = api
    cache, clock = Cache(), TurnedClock()
    labels = {"app.kubernetes.io/name": "faultlab-agent"}
    cache.put(
        {
            "kind": "Pod",
            "metadata": {"name": "agent", "namespace": NAMESPACE, "labels": labels},
            "spec": {"nodeName": NODE},
            "status": {"podIP": NODE_ADDRESS},
        }
    )
    key = AgentKey(kube, clock, NAMESPACE)
    await key.establish()
    async with aiohttp.ClientSession() as http:
        yield Agents(cache, http, NAMESPACE, key), key, clock


async def test_an_agent_with_a_newer_key_is_asked_again_with_it(api: Any, agent: Any, agents: Any) -> None:
    registry, _ = api
    asker, _, clock = agents
    agent.key = "the-newer-one-of-both"
    put_key(registry, agent.key)
    clock.at += REREAD_S
    await asker.standing(NODE)
    assert agent.asked == 2
    await asker.standing(NODE)
    assert agent.asked == 3


async def test_an_agent_with_another_key_than_the_secret_is_named(agent: Any, agents: Any) -> None:
    asker, _, clock = agents
    agent.key = "nobody-knows-this-one"
    clock.at += REREAD_S
    with pytest.raises(AgentError, match=f"node {NODE} has another key.*delete its pod"):
        await asker.standing(NODE)
    assert agent.asked == 1, "the Secret says nothing new"


async def test_an_operator_that_does_not_lead_asks_no_agent(agent: Any, agents: Any) -> None:
    asker, key, _ = agents
    agent.key = key.value
    asker._may_act = lambda: False
    with pytest.raises(AgentError, match="does not lead"):
        await asker.standing(NODE)
    assert agent.asked == 0
