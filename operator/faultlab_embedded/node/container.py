"""One container of a pod: started, probed, restarted with back-off, stopped."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from faultlab_embedded.node import logs, probes
from faultlab_embedded.node.backoff import BackOff
from faultlab_embedded.node.context import NodeContext
from faultlab_embedded.node.environment import ConfigError, container_environment, expand
from faultlab_embedded.node.images import Image, UnknownImage
from faultlab_embedded.node.launch import Launch, Process, StartFailed
from faultlab_embedded.node.rootfs import Bind
from faultlab_embedded.node.status import ContainerState, now, waiting

Object = Mapping[str, Any]
_RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_EXEC_OUTPUT_BYTES = 10_240
log = logging.getLogger(__name__)


LOG_ENDS_WITHIN_S = 1.0
"""After the process; whoever still holds its output then is not waited for."""


class PodSurroundings(Protocol):
    """What a container needs of its pod."""

    @property
    def pod(self) -> Object:
        """The pod as it is now, its status with the address included."""
        ...

    @property
    def namespaces(self) -> Mapping[str, int]:
        """Descriptors of the sandbox; empty for hostNetwork."""
        ...

    @property
    def address(self) -> str:
        """Where probes reach the pod."""
        ...

    def binds(self, container: Object, env: Mapping[str, str]) -> list[Bind]:
        """Volumes and the pod's own /etc files."""
        ...

    def lookup(self, resource: str, name: str) -> Object | None:
        """A ConfigMap, Secret or ServiceAccount of the pod's namespace."""
        ...

    def changed(self) -> None:
        """The container's state changed: the status has to be written."""
        ...


class ContainerRunner:
    """Runs one container until it is final or told to stop; see `run` and `stop`."""

    def __init__(
        self, context: NodeContext, around: PodSurroundings, container: Object, restart_policy: str
    ) -> None:
        self._context = context
        self._around = around
        self._container = container
        self._restart_policy = restart_policy
        self._stopping = asyncio.Event()
        self._killed = False
        self._process: Process | None = None
        self._env: dict[str, str] = {}
        self._backoff = BackOff()
        self.log: logs.ContainerLog | None = None
        self.state = ContainerState(container["name"], container.get("image", ""))

    # Life

    async def run(self) -> None:
        """Starts the container and, as the restart policy says, starts it again, until it is final or
        stopped."""
        attempt = 0
        while not self._stopping.is_set():
            try:
                prepared = self._prepare()
            except (UnknownImage, ConfigError, ValueError) as error:
                self._not_startable(error, attempt)
                await self._pause(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1
                continue
            attempt = 0
            began = asyncio.get_running_loop().time()
            code = await self._run_once(*prepared)
            if self._stopping.is_set() or not self._restarts_after(code):
                break
            await self._back_off(asyncio.get_running_loop().time() - began)
        self.state.final = True
        self.state.ready = self.state.started = False
        if "terminated" not in self.state.state:
            ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "stopped before it ran"}
            self.state.state = self.state.last or {"terminated": ended}
        self._around.changed()

    def resume(self, before: Object) -> bool:
        """Takes over from a life of the world before this one. False if the container must not run again."""
        if not before.get("containerID"):
            return True
        ended = (before.get("state") or {}).get("terminated") or {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "the embedded world was stopped",
            "startedAt": ((before.get("state") or {}).get("running") or {}).get("startedAt"),
            "finishedAt": now(),
            "containerID": before["containerID"],
        }
        self.state.restarts = int(before.get("restartCount") or 0)
        if not self._restarts_after(int(ended.get("exitCode") or 0)):
            self.state.state, self.state.final = {"terminated": ended}, True
            self.state.container_id = str(before["containerID"]).removeprefix("embedded://")
            return False
        self.state.last = {"terminated": ended}
        self.state.restarts += 1
        return True

    async def stop(self, grace_s: float) -> None:
        """Runs the preStop hook and sends SIGTERM. `kill` is the caller's to schedule."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        await self._terminate(grace_s)

    def kill(self) -> None:
        """SIGKILL, now, or as soon as a start that is under way is through."""
        self._killed = True
        self._stopping.set()
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    # One run

    def _prepare(self) -> tuple[Image, Launch]:
        image = self._context.images.find(self.state.image)
        around, container = self._around, self._container
        env = container_environment(around.pod, container, self._base_env(image), around.lookup)
        argv = image.argv(
            [expand(word, env) for word in container.get("command") or ()],
            [expand(word, env) for word in container.get("args") or ()],
        )
        security = container.get("securityContext") or {}
        self._env = env
        return image, Launch(
            argv=argv,
            env=env,
            cwd=container.get("workingDir") or "/",
            staging=str(self._context.run / "rootfs"),
            namespaces=around.namespaces,
            binds=around.binds(container, env),
            keep_visible=image.keep_visible,
            own_pids=not around.pod["spec"].get("hostPID"),
            read_only=bool(security.get("readOnlyRootFilesystem")),
            privileged=bool(security.get("privileged")),
            no_new_privileges=security.get("allowPrivilegeEscalation") is False,
        )

    def _base_env(self, image: Image) -> dict[str, str]:
        return {
            "PATH": image.search_path(),
            "HOSTNAME": self._around.pod["spec"].get("hostname") or self._around.pod["metadata"]["name"],
            "HOME": "/root",
            "KUBERNETES_SERVICE_HOST": self._context.address,
            "KUBERNETES_SERVICE_PORT": str(self._context.api_port),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(self._context.api_port),
            **image.env,
        }

    async def _run_once(self, image: Image, launch: Launch) -> int:
        """One start and its end: the exit code."""
        self.state.container_id = secrets.token_hex(32)
        self._event("Pulled", f'Container image "{self.state.image}" is local programs ({image.pattern})')
        self.log = self._open_log()
        self._event("Created", f"Created container: {self.state.name}")
        try:
            process = self._process = await self._context.launcher.run(launch, self.log.feed)
        except StartFailed as error:
            self.log.close()
            return self._start_failed(str(error))
        self._write_state_file(process)
        self._event("Started", f"Started container {self.state.name}")
        started_at = now()
        self.state.state = {"running": {"startedAt": started_at}}
        self.state.started = "startupProbe" not in self._container
        self.state.ready = self.state.started and "readinessProbe" not in self._container
        self._around.changed()
        if self._stopping.is_set():  # told to stop between its decision to start and its start
            process.signal(signal.SIGKILL if self._killed else signal.SIGTERM)
        probing = asyncio.create_task(self._probe(process))
        code = await process.exited
        probing.cancel()
        if not launch.own_pids:
            process.kill_group()
        shutil.rmtree(self._state_directory(), ignore_errors=True)
        last_words = await self._last_words(code)
        self._ended(code, started_at, "Completed" if code == 0 else "Error", last_words)
        return code

    async def _last_words(self, code: int) -> str:
        """A termination message is taken from the log alone; the container's file for it is not read."""
        wanted = self._container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not code or not wanted or self.log is None:
            return ""
        # The end of a process may be known before its last output has been read.
        with suppress(TimeoutError):
            async with asyncio.timeout(LOG_ENDS_WITHIN_S):
                while not self.log.closed:
                    await self.log.wait_for_more()
        return logs.last_words(self.log.path)

    def _start_failed(self, message: str) -> int:
        self._warn("Failed", f"Error: failed to start container {self.state.name!r}: {message}")
        self._ended(128, now(), "StartError", message)
        return 128

    def _ended(self, code: int, started_at: str, reason: str, message: str) -> None:
        ended = {
            "exitCode": code,
            "reason": reason,
            "startedAt": started_at,
            "finishedAt": now(),
            "containerID": f"embedded://{self.state.container_id}",
        }
        if message:
            ended["message"] = message
        self.state.state = {"terminated": ended}
        self.state.ready = self.state.started = False
        self._around.changed()

    def _restarts_after(self, code: int) -> bool:
        return self._restart_policy == "Always" or (self._restart_policy == "OnFailure" and code != 0)

    async def _back_off(self, ran_s: float) -> None:
        delay = self._backoff.after_run(ran_s)
        self.state.last = self.state.state
        if delay:
            pod = self._around.pod["metadata"]
            where = f"container={self.state.name} pod={pod['name']}_{pod['namespace']}({pod['uid']})"
            text = f"back-off {_duration(delay)} restarting failed {where}"
            self.state.state = waiting("CrashLoopBackOff", text)
            self._warn(
                "BackOff", f"Back-off restarting failed container {self.state.name} in pod {pod['name']}"
            )
            self._around.changed()
            await self._pause(delay)
        self.state.restarts += 1

    def _not_startable(self, error: Exception, attempt: int) -> None:
        reason = "CreateContainerConfigError"
        if isinstance(error, UnknownImage):
            reason = "ImagePullBackOff" if attempt else "ErrImagePull"
        if not attempt:
            self._warn("Failed", f"Error: {reason}: {error}")
        self.state.state = waiting(reason, str(error))
        self._around.changed()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _terminate(self, grace_s: float) -> None:
        process = self._process
        if process is None or process.exited.done():
            return
        self._event("Killing", f"Stopping container {self.state.name}")
        hook = ((self._container.get("lifecycle") or {}).get("preStop") or {}).get("exec")
        if hook and grace_s > 0:
            with suppress(TimeoutError, StartFailed):
                await self._execute(list(hook.get("command") or ()), grace_s)
        process.signal(signal.SIGTERM)

    # Probes

    async def _probe(self, process: Process) -> None:
        if startup := self._container.get("startupProbe"):
            await self._watch("Startup", startup, process)
        tasks = []
        for kind, key in (("Liveness", "livenessProbe"), ("Readiness", "readinessProbe")):
            if probe := self._container.get(key):
                tasks.append(self._watch(kind, probe, process))
        await asyncio.gather(*tasks)

    async def _watch(self, kind: str, probe: Object, process: Process) -> None:
        """Asks again and again; a startup probe ends at its first success, the others with the process."""
        timing = probes.Timing.of(probe)
        streak = probes.Streak(timing)
        await asyncio.sleep(timing.delay)
        while True:
            good, why = await probes.ask(
                probe, self._container, self._around.address, self._context.http, self._execute
            )
            if not good:
                self._warn("Unhealthy", f"{kind} probe failed: {why}")
            verdict = streak.add(good)
            if verdict is not None:
                self._judge(kind, verdict, process)
            if (kind == "Startup" and verdict) or (kind != "Readiness" and verdict is False):
                return
            await asyncio.sleep(timing.period)

    def _judge(self, kind: str, verdict: bool, process: Process) -> None:
        if kind == "Readiness":
            self._set_ready(verdict)
        elif kind == "Startup" and verdict:
            self.state.started = True
            self._set_ready("readinessProbe" not in self._container)
            self._around.changed()
        elif not verdict and not self._stopping.is_set():
            self._event(
                "Killing", f"Container {self.state.name} failed {kind.lower()} probe, will be restarted"
            )
            process.signal(signal.SIGTERM)
            grace = float(self._around.pod["spec"].get("terminationGracePeriodSeconds") or 30)
            asyncio.get_running_loop().call_later(grace, process.signal, signal.SIGKILL)

    def _set_ready(self, ready: bool) -> None:
        if ready != self.state.ready:
            self.state.ready = ready
            self._around.changed()

    async def _execute(self, command: list[str], timeout_s: float) -> tuple[int, str]:
        """A command in the container: exit code and the end of its output.

        Raises StartFailed, TimeoutError.
        """
        if self._process is None:
            raise StartFailed("the container does not run")
        collected = bytearray()

        def collect(_: str, data: bytes) -> None:
            collected.extend(data)
            del collected[:-_EXEC_OUTPUT_BYTES]

        started = await self._context.launcher.execute(self._process.pid, command, self._env, collect)
        try:
            async with asyncio.timeout(timeout_s):
                code = await started.exited
        except (TimeoutError, asyncio.CancelledError):
            with suppress(ProcessLookupError):
                started.kill_group()
            raise
        return code, collected.decode(errors="replace")

    # Files

    def _open_log(self) -> logs.ContainerLog:
        meta = self._around.pod["metadata"]
        directory = self._context.log_directory(meta["namespace"], meta["name"], meta["uid"])
        directory = directory / self.state.name
        logs.remove(directory / f"{self.state.restarts - 2}.log")
        return logs.ContainerLog(directory / f"{self.state.restarts}.log")

    def _state_directory(self) -> str:
        return str(self._context.run / "containers" / self.state.container_id)

    def _write_state_file(self, process: Process) -> None:
        """The part of runc's state.json that the chaos agent reads; PIDs as the world sees them."""
        directory = self._context.run / "containers" / self.state.container_id
        directory.mkdir(parents=True, exist_ok=True)
        namespaces = {"NEWNET": "net", "NEWPID": "pid", "NEWNS": "mnt", "NEWUTS": "uts", "NEWIPC": "ipc"}
        state = {
            "id": self.state.container_id,
            "init_process_pid": process.pid,
            "namespace_paths": {kind: f"/proc/{process.pid}/ns/{name}" for kind, name in namespaces.items()},
        }
        fresh = directory / ".state.json"
        fresh.write_text(json.dumps(state))
        fresh.rename(directory / "state.json")

    def _event(self, reason: str, message: str) -> None:
        path = f"spec.containers{{{self.state.name}}}"
        self._context.recorder.normal(self._around.pod, reason, message, path)

    def _warn(self, reason: str, message: str) -> None:
        path = f"spec.containers{{{self.state.name}}}"
        self._context.recorder.warning(self._around.pod, reason, message, path)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
