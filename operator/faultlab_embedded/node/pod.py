"""One pod on the node: volumes, sandbox, init containers, containers, and the way back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from faultlab_embedded.network import names
from faultlab_embedded.network.bridge import NetworkError, Sandbox
from faultlab_embedded.node.container import ContainerRunner
from faultlab_embedded.node.context import NodeContext
from faultlab_embedded.node.environment import ConfigError
from faultlab_embedded.node.rootfs import Bind
from faultlab_embedded.node.status import ContainerState, now, pod_status
from faultlab_embedded.node.unsupported import unsupported
from faultlab_embedded.node.volumes import PodVolumes
from faultlab_embedded.store.errors import ApiError

Object = Mapping[str, Any]
_RETRY_S = 1.0
log = logging.getLogger(__name__)


class PodWorker:
    """Brings one pod (one uid) to life and to its end. `run` is its whole life and never raises.

    What may never happen: two workers for one uid; a container that outlives its worker.
    """

    def __init__(self, context: NodeContext, pod: Object) -> None:
        self._context = context
        self._pod: dict[str, Any] = dict(pod)
        meta = pod["metadata"]
        self.namespace, self.name, self.uid = meta["namespace"], meta["name"], meta["uid"]
        self._volumes = PodVolumes(
            context.home,
            context.run / "memory",
            pod,
            self.lookup,
            lambda claim: context.claims.path(self.namespace, claim, self.uid),
            context.access,
        )
        self._sandbox: Sandbox | None = None
        self._etc: list[Bind] = []
        spec = pod["spec"]
        policy = spec.get("restartPolicy") or "Always"
        init_policy = "Never" if policy == "Never" else "OnFailure"
        self._init = [
            ContainerRunner(context, self, c, init_policy) for c in spec.get("initContainers") or ()
        ]
        self._main = [ContainerRunner(context, self, c, policy) for c in spec["containers"]]
        self._stop_asked = asyncio.Event()
        self._stops: list[asyncio.Task[None]] = []
        self._sources_changed = asyncio.Event()
        self._lacking = False
        """A volume's source is not there."""
        self._keep_object = False
        self._start_time = (pod.get("status") or {}).get("startTime") or now()
        self._written: dict[str, Any] | None = None
        self._publishing = False
        self._pod_ip = ""

    # What containers need of their pod

    @property
    def pod(self) -> Object:
        """The pod with its address, which its stored status may not have yet."""
        status = {**(self._pod.get("status") or {}), "podIP": self._pod_ip, "hostIP": self._context.address}
        return {**self._pod, "status": status}

    @property
    def namespaces(self) -> Mapping[str, int]:
        """Descriptors of the sandbox; none with hostNetwork."""
        return self._sandbox.namespaces if self._sandbox else {}

    @property
    def address(self) -> str:
        """Where the node reaches the pod; empty before it has a sandbox."""
        return self._pod_ip

    def lookup(self, resource: str, name: str) -> Object | None:
        """An object of the pod's namespace."""
        found = self._context.registry.find(resource, self.namespace, name)
        return found.decode() if found else None

    def binds(self, container: Object, env: Mapping[str, str]) -> list[Bind]:
        """The container's volumes and the pod's files in /etc."""
        volumes = self._volumes.binds(self._pod, container, env)
        taken = {bind.target.rstrip("/") for bind in volumes}
        return [*(bind for bind in self._etc if bind.target not in taken), *volumes]

    def changed(self) -> None:
        """Writes the status soon; changes that come together are written together."""
        if not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_soon(self._publish)

    # What the node tells

    def update(self, pod: Object) -> None:
        """The object changed in the API."""
        self._pod = dict(pod)
        if "deletionTimestamp" in pod["metadata"]:
            self.stop(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
        elif self._etc:
            self._volumes.refresh(self.pod)

    def source_changed(self, resource: str, name: str) -> None:
        """A ConfigMap or Secret of the namespace changed."""
        self._sources_changed.set()
        if self._etc and self._volumes.refers_to(self._pod, resource, name):
            self._volumes.refresh(self.pod)

    def stop(self, grace_s: float, *, keep_object: bool = False) -> None:
        """Ends the pod: SIGTERM now, SIGKILL after the grace. A later call can only shorten it.

        `keep_object`: the world stops, the pod itself stays in the API and runs again with the next world.
        """
        self._keep_object = self._keep_object or keep_object
        self._stop_asked.set()
        for runner in (*self._init, *self._main):
            self._stops.append(asyncio.create_task(runner.stop(grace_s)))
            asyncio.get_running_loop().call_later(grace_s, runner.kill)

    def runner(self, container: str) -> ContainerRunner | None:
        """The runner of a container or init container."""
        for runner in (*self._init, *self._main):
            if runner.state.name == container:
                return runner
        return None

    def begun(self) -> bool:
        """Whether every container has been started (not: is ready), or the pod waits for something that is
        not there yet, as a Secret that another pod makes."""
        return self._lacking or all(runner.state.running for runner in self._main)

    # Life

    async def run(self) -> None:
        """From the first volume to the last file."""
        try:
            await self._lead()
            await self._leave_sandbox()
            self._publish()
            await self._stop_asked.wait()
        except Exception:
            log.exception("pod %s/%s", self.namespace, self.name)
            self._context.recorder.warning(
                self._pod, "Failed", "the node gave the pod up; see the world's log"
            )
            for runner in (*self._init, *self._main):
                runner.kill()
            await self._stop_asked.wait()
        finally:
            try:
                await self._leave_sandbox()
                await asyncio.to_thread(self._volumes.remove)
                await self._context.claims.released(self.uid)
            finally:
                # Whatever was left behind: an object that stays would be Terminating for ever.
                self._delete_object()

    async def _lead(self) -> None:
        self._resume()
        self._publish()
        if ignored := unsupported(self._pod["spec"]):
            self._context.recorder.warning(self._pod, "Unsupported", f"the embedded world: {ignored}")
        await self._make_volumes()
        if self._stop_asked.is_set():
            return
        await self._make_sandbox()
        if self._stop_asked.is_set():
            return
        self._publish()
        for runner in self._init:
            if not runner.state.final:
                await runner.run()
            if not runner.state.succeeded:
                return
        await asyncio.gather(*(runner.run() for runner in self._main if not runner.state.final))

    def _resume(self) -> None:
        status = self._pod.get("status") or {}
        for runners, key in ((self._init, "initContainerStatuses"), (self._main, "containerStatuses")):
            before = {entry["name"]: entry for entry in status.get(key) or ()}
            for runner in runners:
                runner.resume(before.get(runner.state.name, {}))

    async def _make_volumes(self) -> None:
        complained = ""
        while not self._stop_asked.is_set():
            try:
                self._sources_changed.clear()
                self._volumes.prepare(self.pod)
                self._lacking = False
                return
            except ConfigError as error:
                self._lacking = True
                if str(error) != complained:
                    complained = str(error)
                    self._context.recorder.warning(self._pod, "FailedMount", f"MountVolume failed: {error}")
            await self._wait(self._stop_asked, self._sources_changed)

    async def _make_sandbox(self) -> None:
        hostname = self._pod["spec"].get("hostname") or self.name
        if self._pod["spec"].get("hostNetwork"):
            self._pod_ip = self._context.address
        else:
            self._sandbox = await self._create_sandbox(hostname)
            if self._sandbox is None:
                return
            self._pod_ip = self._sandbox.address
        hosts = self._volumes.file("hosts", "")
        self._context.hosts.add(self._pod, hosts, self._pod_ip)
        files = {
            "/etc/hosts": hosts,
            "/etc/hostname": self._volumes.file("hostname", f"{hostname}\n"),
            "/etc/resolv.conf": self._volumes.file("resolv.conf", ""),
            "/etc/host.conf": self._volumes.file("host.conf", names.HOST_CONF),
        }
        self._etc = [_etc_bind(path, target) for target, path in files.items()]
        self._volumes.refresh(self.pod)  # downward files may show the address

    async def _create_sandbox(self, hostname: str) -> Sandbox | None:
        """Tries until it works or the pod is to stop (None)."""
        while not self._stop_asked.is_set():
            try:
                return await self._context.bridge.create(hostname)
            except NetworkError as error:
                text = f"Failed to create pod sandbox: {error}"
                self._context.recorder.warning(self._pod, "FailedCreatePodSandBox", text)
                await self._wait(self._stop_asked)
        return None

    async def _wait(self, *events: asyncio.Event) -> None:
        """Until one of the events, or for as long as one waits before trying again."""
        waits = [asyncio.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, timeout=_RETRY_S, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()

    async def _leave_sandbox(self) -> None:
        self._context.hosts.remove(self.uid)
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await self._context.bridge.remove(sandbox)

    # Status

    def _states(self, runners: list[ContainerRunner]) -> list[ContainerState]:
        return [runner.state for runner in runners]

    def _publish(self) -> None:
        self._publishing = False
        if self._keep_object:
            return
        status = pod_status(
            self._pod,
            self._states(self._init),
            self._states(self._main),
            pod_ip=self._pod_ip,
            host_ip=self._context.address,
            start_time=self._start_time,
        )
        if status == self._written:
            return
        found = self._context.registry.find("pods", self.namespace, self.name)
        if found is None or found.uid != self.uid:
            return
        try:
            stored = self._context.registry.modify(
                "pods", self.namespace, self.name, lambda pod: {**pod, "status": status}, "status"
            )
        except ApiError as error:
            log.warning("status of pod %s/%s was refused: %s", self.namespace, self.name, error)
            return
        self._pod = stored
        self._written = stored["status"]

    def _delete_object(self) -> None:
        found = self._context.registry.find("pods", self.namespace, self.name)
        if self._keep_object or found is None or found.uid != self.uid:
            return
        with suppress(ApiError):
            self._context.registry.delete("pods", self.namespace, self.name, grace_seconds=0)


def _etc_bind(source: Path, target: str) -> Bind:
    return Bind(str(source), target, directory=False, read_only=False)
