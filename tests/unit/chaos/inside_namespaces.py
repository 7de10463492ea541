"""The agent against a real kernel. Run by test_in_namespaces.py inside namespaces of its own."""

import asyncio
import os
import select
import signal
import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from pod_lab import NODE_ADDRESS, Node, deaf, injection, until

from faultlab_chaos.agent.containers import ContainerFinder
from faultlab_chaos.agent.probes import Probes
from faultlab_chaos.contract import wire

OWNER = "operator"
ARRIVAL_S = 0.1


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Not async: pyroute2 wants a thread without a running loop."""
    node = Node(tmp_path_factory.mktemp("node"))
    try:
        node.add_pods(3)
        yield node
    finally:
        node.end()


@pytest_asyncio.fixture
async def node(machine: Node) -> AsyncIterator[Node]:
    """Three pods under nothing, and an agent: the last test's, if that left it alive."""
    async with aiohttp.ClientSession() as machine.http:
        await machine.start_agent()
        try:
            yield machine
        finally:
            await asyncio.to_thread(machine.tidy)


async def test_a_cut_edge_loses_datagrams_and_the_opposite_edge_does_not(node: Node) -> None:
    a, b, c = node.pods
    states = await node.put(OWNER, injection("one-way", deaf(b, a)))
    assert [(state.applied, state.pod, state.lease_remaining_ms) for state in states] == [(True, b.ref, 5000)]
    assert await node.probe([(a, b), (b, a), (c, b), (a, c)]) == {(b, a), (c, b), (a, c)}


async def test_an_empty_wish_heals_at_once_and_leaves_no_table(node: Node) -> None:
    a, b, c = node.pods
    await node.put(OWNER, injection("both", deaf(a, b, c), deaf(b, a), deaf(c, a)))
    assert await node.probe([(a, b), (b, a), (c, a), (b, c)]) == {(b, c)}
    assert await node.put(OWNER) == []
    assert await node.probe([(a, b), (b, a), (c, a), (b, c)]) == {(a, b), (b, a), (c, a), (b, c)}
    assert [pod.tables() for pod in node.pods] == [set(), set(), set()]
    assert await node.standing() == []


async def test_an_established_connection_is_cut_and_goes_on_after_the_heal(node: Node) -> None:
    a, b, _ = node.pods
    listener = b.inside(lambda: socket.create_server((b.address, 0)))
    client = a.inside(lambda: socket.create_connection(listener.getsockname(), timeout=2))
    server, _address = listener.accept()
    with listener, client, server:
        server.settimeout(5)
        client.sendall(b"before")
        assert server.recv(100) == b"before"
        await node.put(OWNER, injection("cut", deaf(b, a)))
        client.sendall(b"during")
        server.settimeout(0.6)
        with pytest.raises(TimeoutError):
            server.recv(100)
        await node.put(OWNER)
        server.settimeout(5)
        assert server.recv(100) == b"during"


async def test_the_node_still_reaches_a_pod_that_hears_nobody(node: Node) -> None:
    a, b, c = node.pods
    listener = a.inside(lambda: socket.create_server((a.address, 0)))
    with listener:
        await node.put(OWNER, injection("isolate", deaf(a, b, c), deaf(b, a), deaf(c, a)))
        with socket.create_connection(listener.getsockname(), timeout=2):
            pass


async def test_the_kernel_ends_an_unrenewed_cut_within_its_lease_though_the_agent_is_dead(node: Node) -> None:
    a, b, _ = node.pods
    await node.put(OWNER, injection("leased", deaf(b, a), lease_ms=1000))
    began = time.monotonic()
    node.end_agent(signal.SIGKILL)
    with a.datagram_socket() as sender, b.datagram_socket() as receiver:
        await until("b hears a again", lambda: heard(sender, receiver))
    assert 0.8 < time.monotonic() - began < 2.0


async def test_renewals_keep_a_cut_for_longer_than_its_lease_and_not_one_datagram_slips_through(
    node: Node,
) -> None:
    a, b, _ = node.pods
    wish = injection("renewed", deaf(b, a), lease_ms=600)
    await node.put(OWNER, wish)
    sent = 0
    with a.datagram_socket() as sender, b.datagram_socket() as receiver:
        ends = time.monotonic() + 2.0
        while time.monotonic() < ends:
            await node.put(OWNER, wish)
            pause = time.monotonic() + 0.1
            while time.monotonic() < pause:
                sender.sendto(b"cut", receiver.getsockname())
                sent += 1
                await asyncio.sleep(0.001)
        await asyncio.sleep(ARRIVAL_S)
        assert sent > 100
        assert drain(receiver) == 0
        await node.put(OWNER)
        assert heard(sender, receiver)


async def test_a_renewal_after_the_lease_has_ended_cuts_again(node: Node) -> None:
    a, b, _ = node.pods
    wish = injection("late", deaf(b, a), lease_ms=500)
    await node.put(OWNER, wish)
    with a.datagram_socket() as sender, b.datagram_socket() as receiver:
        await until("b hears a again", lambda: heard(sender, receiver))
        await node.put(OWNER, wish)
        assert not heard(sender, receiver)


async def test_an_empty_table_is_swept_after_its_lease(node: Node) -> None:
    a, b, _ = node.pods
    await node.put(OWNER, injection("forgotten", deaf(b, a), lease_ms=500))
    assert len(b.tables()) == 1
    await until("the table is gone", lambda: not b.tables(), deadline_s=6)


async def test_a_changed_wish_replaces_the_sources(node: Node) -> None:
    a, b, c = node.pods
    await node.put(OWNER, injection("moves", deaf(b, a)))
    await node.put(OWNER, injection("moves", deaf(b, c)))
    assert await node.probe([(a, b), (c, b)]) == {(a, b)}
    await node.put(OWNER, injection("moves", deaf(c, a)))
    assert await node.probe([(a, b), (c, b), (a, c)]) == {(a, b), (c, b)}
    assert b.tables() == set()


async def test_overlapping_injections_add_up_and_removing_one_leaves_the_other(node: Node) -> None:
    a, b, c = node.pods
    await node.put("first", injection("x", deaf(b, a)), injection("y", deaf(b, a, c)))
    await node.put("second", injection("x", deaf(b, a)))
    edges = [(a, b), (c, b)]
    assert await node.probe(edges) == set()
    await node.put("first", injection("x", deaf(b, a)))
    assert await node.probe(edges) == {(c, b)}
    await node.put("first")
    assert await node.probe(edges) == {(c, b)}
    assert [state.owner for state in await node.standing()] == ["second"]
    await node.put("second")
    assert await node.probe(edges) == {(a, b), (c, b)}


async def test_a_restarted_agent_adopts_what_stands_and_its_owner_can_end_it(node: Node) -> None:
    a, b, _ = node.pods
    wish = injection("adopted", deaf(b, a), lease_ms=30_000)
    await node.put(OWNER, wish)
    node.end_agent(signal.SIGKILL)
    await node.start_agent()
    (state,) = await node.standing()
    assert (state.id, state.owner, state.pod.name, state.applied) == (wish.id, OWNER, "demo-1", True)
    assert 20_000 < state.lease_remaining_ms <= 30_000
    assert await node.probe([(a, b)]) == set()
    await node.put("somebody-else")
    assert await node.probe([(a, b)]) == set()
    await node.put(OWNER)
    assert await node.probe([(a, b)]) == {(a, b)}
    assert b.tables() == set()


async def test_a_new_agent_removes_the_expired_tables_of_a_dead_one(node: Node) -> None:
    a, b, _ = node.pods
    await node.put(OWNER, injection("expired", deaf(b, a), lease_ms=500))
    node.end_agent(signal.SIGKILL)
    with a.datagram_socket() as sender, b.datagram_socket() as receiver:
        await until("b hears a again", lambda: heard(sender, receiver))
    assert len(b.tables()) == 1
    await node.start_agent()
    assert b.tables() == set()


async def test_sigterm_heals(node: Node) -> None:
    a, b, _ = node.pods
    await node.put(OWNER, injection("clean", deaf(b, a), lease_ms=30_000))
    node.end_agent(signal.SIGTERM)
    assert b.tables() == set()


async def test_sigterm_leaves_the_cut_to_its_lease_if_told_so(node: Node) -> None:
    a, b, _ = node.pods
    node.end_agent(signal.SIGTERM)
    await node.start_agent("--at-end", "leave")
    await node.put(OWNER, injection("left", deaf(b, a), lease_ms=30_000))
    node.end_agent(signal.SIGTERM)
    with a.datagram_socket() as sender, b.datagram_socket() as receiver:
        assert not heard(sender, receiver)


@pytest.mark.parametrize("valid_ms", [200, 0])
async def test_what_a_stopped_agent_was_told_is_done_later_only_if_it_is_still_valid(
    node: Node, valid_ms: int
) -> None:
    a, b, _ = node.pods
    clock_ms = (await node.ask(wire.InjectionsStatus, "GET", "/v1/injections")).clock_ms
    assert node.agent is not None
    node.agent.send_signal(signal.SIGSTOP)
    valid_until_ms = clock_ms + valid_ms if valid_ms else 0
    wanted = wire.WantedInjections(OWNER, (injection("ghost", deaf(b, a)),), valid_until_ms)
    asked = asyncio.create_task(node.call("PUT", "/v1/injections", wanted))
    await until("it is too late", lambda: time.monotonic() * 1000 > clock_ms + 400)
    assert not asked.done()
    node.agent.send_signal(signal.SIGCONT)
    status, answer = await asked
    assert (status, bool(b.tables())) == ((409, False) if valid_ms else (200, True)), answer


async def test_a_pod_that_is_not_here_is_not_applied_and_the_others_are(node: Node) -> None:
    a, b, _ = node.pods
    stranger = wire.Deafness(wire.PodRef("faultlab", "demo-9", "containerd://" + "f" * 64), (a.address,))
    states = await node.put(OWNER, injection("partly", deaf(b, a), stranger))
    by_name = {state.pod.name: state for state in states}
    assert by_name["demo-1"].applied
    assert not by_name["demo-9"].applied
    assert "does not run on this node" in by_name["demo-9"].message


async def test_a_pid_that_was_given_to_another_process_is_not_the_container(node: Node) -> None:
    a, b, _ = node.pods
    b.write_state(init_process_start=1)
    (state,) = await node.put(OWNER, injection("stale", deaf(b, a)))
    assert not state.applied
    assert b.tables() == set()


async def test_the_network_of_the_node_is_never_cut(node: Node) -> None:
    a, b, _ = node.pods
    b.write_state(init_process_pid=os.getpid())
    (state,) = await node.put(OWNER, injection("host", deaf(b, a)))
    assert not state.applied
    assert "node's own network" in state.message


async def test_the_address_of_the_node_is_never_among_the_sources(node: Node) -> None:
    b = node.pods[1]
    wish = injection("kubelet", wire.Deafness(b.ref, (node.pods[0].address, NODE_ADDRESS)))
    (state,) = await node.put(OWNER, wish)
    assert not state.applied
    assert NODE_ADDRESS in state.message
    assert b.tables() == set()


async def test_a_cut_is_healed_though_the_container_that_it_was_asked_for_has_ended(node: Node) -> None:
    """The pod's network outlives its containers: here the sleeper stands for the pod's sandbox."""
    a, b, _ = node.pods
    with b.second_process() as container:
        b.write_state(init_process_pid=container.pid)
        await node.put(OWNER, injection("restart", deaf(b, a)))
        assert await node.probe([(a, b)]) == set()
        container.kill()
    (b.roots / b.container_id / "state.json").unlink()
    assert len(b.tables()) == 1
    assert await node.put(OWNER) == []
    assert b.tables() == set()


async def test_a_restarted_container_is_under_the_same_cut_without_a_second_table(node: Node) -> None:
    a, b, _ = node.pods
    wish = injection("restart", deaf(b, a))
    await node.put(OWNER, wish)
    with b.second_process() as container:
        b.write_state(init_process_pid=container.pid)
        assert [state.applied for state in await node.put(OWNER, wish)] == [True]
        assert len(b.tables()) == 1
        container.kill()


async def test_a_dead_pods_network_goes_though_it_was_cut_and_probed(node: Node) -> None:
    (b,) = await asyncio.to_thread(node.add_pods, 1)
    a = node.pods[0]
    await node.put(OWNER, injection("dies", deaf(b, a), lease_ms=30_000))
    await node.probe([(a, b)])
    b.process.kill()
    b.process.wait()
    await until("the veth is gone", lambda: b.veth not in {name for _, name in socket.if_nameindex()})
    assert await node.standing() == []


async def test_datagrams_that_cannot_be_sent_are_reported(node: Node) -> None:
    a = node.pods[0]
    unknown = wire.PodRef("faultlab", "gone", "containerd://" + "e" * 64)
    request = wire.SendProbes(
        (
            wire.ProbeDatagram(a.ref, "192.0.2.1", 9, "no-route"),
            wire.ProbeDatagram(a.ref, "nonsense", 9, "no-address"),
            wire.ProbeDatagram(unknown, a.address, 9, "no-pod"),
            wire.ProbeDatagram(a.ref, a.address, 9, "fine"),
        )
    )
    sent = await node.ask(wire.SentProbes, "POST", "/v1/probes/send", request)
    assert set(sent.errors) == {"no-route", "no-address", "no-pod"}


async def test_probe_sockets_are_bounded_in_number_and_a_socket_is_collected_once(node: Node) -> None:
    a = node.pods[0]
    request = wire.OpenProbes((a.ref,) * 200)
    first = await node.ask(wire.OpenedProbes, "POST", "/v1/probes/open", request)
    second = await node.ask(wire.OpenedProbes, "POST", "/v1/probes/open", request)
    sockets = [*first.sockets, *second.sockets]
    assert sum(1 for each in sockets if not each.error) == 256
    ids = tuple(each.socket_id for each in sockets if not each.error)
    for expected in (256, 0):
        collect = wire.CollectProbes(ids, 0)
        answer = await node.ask(wire.CollectedProbes, "POST", "/v1/probes/collect", collect)
        assert len(answer.received) == expected


async def test_a_probe_socket_that_nobody_collects_is_closed_after_its_lifetime(node: Node) -> None:
    a = node.pods[0]
    with ThreadPoolExecutor(1) as worker:
        probes = Probes(ContainerFinder([node.roots]), worker, lifetime_s=0.2)
        (opened,) = (await probes.open(wire.OpenProbes((a.ref,)))).sockets
        assert not opened.error
        await asyncio.sleep(0.1)
        before = set(os.listdir("/proc/self/fd"))
        await until("the socket is closed", lambda: set(os.listdir("/proc/self/fd")) < before)
        late = await probes.collect(wire.CollectProbes((opened.socket_id,), 0))
        assert late.received == {}


@pytest.mark.parametrize("key", ["", "wrong", "a-key-for-tests-onl\xff"])
async def test_without_the_key_nothing_is_answered(node: Node, key: str) -> None:
    for method, path in [("PUT", "/v1/injections"), ("GET", "/v1/capabilities"), ("GET", "/nothing")]:
        status, answer = await node.call(method, path, b"{}", key=key)
        assert status == 401
        assert "key" in msgspec.json.decode(answer, type=wire.Problem).error


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"\xff\xfe", ""),
        (b"[]", "object"),
        (b'{"owner": "x"}', "injections"),
        (b'{"owner": "", "injections": []}', "owner"),
        (
            b'{"owner": "x", "injections": [{"kind": "partition", "id": "i", "leaseMs": 5,"deaf": []}]}',
            "leaseMs",
        ),
        (b'{"owner": "x", "injections": [{"kind": "volcano", "id": "i", "leaseMs": 5000}]}', "volcano"),
        (b" " * (2 << 20), "longer"),
    ],
)
async def test_garbage_is_refused_with_a_reason(node: Node, body: bytes, complaint: str) -> None:
    status, answer = await node.call("PUT", "/v1/injections", body)
    assert status in (400, 413)
    assert complaint in msgspec.json.decode(answer, type=wire.Problem).error


async def test_what_the_kernel_can_do_is_told_with_a_message_each(node: Node) -> None:
    answer = await node.ask(wire.Capabilities, "GET", "/v1/capabilities")
    assert all(each.message for each in answer.capabilities)
    able = {each.name: each.available for each in answer.capabilities}
    assert able["setns"]
    assert able["nftables"]
    assert {"netem", "tbf", "ptrace"} <= set(able)


async def test_a_put_for_five_pods_takes_under_50_ms_and_the_agent_stays_under_60_mb(node: Node) -> None:
    await asyncio.to_thread(node.add_pods, 2)
    pods = node.pods
    wish = injection("quick", *(deaf(pod, *(other for other in pods if other is not pod)) for pod in pods))
    took_ms = []
    for _ in range(30):
        began = time.monotonic()
        await node.put(OWNER, wish)
        took_ms.append((time.monotonic() - began) * 1000)
    await node.probe([(pods[0], pods[1])])
    await node.ask(wire.Capabilities, "GET", "/v1/capabilities")
    resident_kb, descriptors = node.agent_size()
    fastest_ms = statistics.quantiles(took_ms, n=10)[0]  # The median tells of the machine's other work.
    print(f"PUT {fastest_ms:.1f} ms, {resident_kb} kB, {descriptors} descriptors")
    assert fastest_ms < 50
    assert resident_kb < 60_000
    assert descriptors < 40


def heard(sender: socket.socket, receiver: socket.socket) -> bool:
    """Whether a datagram sent now arrives. It takes microseconds, but a busy kernel may put it off."""
    drain(receiver)
    sender.sendto(b"now", receiver.getsockname())
    return bool(select.select([receiver], [], [], ARRIVAL_S)[0]) and drain(receiver) > 0


def drain(receiver: socket.socket) -> int:
    """How many datagrams were waiting."""
    arrived = 0
    while arrived < 10_000:
        try:
            receiver.recv(100)
        except BlockingIOError:
            break
        arrived += 1
    return arrived
