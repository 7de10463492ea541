"""Jobs: pods until enough have succeeded. Indexed completion is not supported and says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from faultlab_embedded.controllers import pods
from faultlab_embedded.controllers.runtime import Source, controller_key, own_key
from faultlab_embedded.node.recorder import Recorder
from faultlab_embedded.node.status import now
from faultlab_embedded.store.registry import Registry

Object = Mapping[str, Any]
RESOURCE = "jobs.batch"
_FIRST_BACKOFF_S = 10.0
_MAX_BACKOFF_S = 360.0
_DEFAULT_BACKOFF_LIMIT = 6


class JobReconciler:
    """completions, parallelism, backoffLimit, activeDeadlineSeconds, suspend, ttlSecondsAfterFinished."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def sources(self) -> list[Source]:
        """Jobs and their pods."""
        return [Source(RESOURCE, own_key), Source("pods", controller_key("Job"))]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """One look; seconds until a deadline, a back-off or the time to live is over."""
        found = self._registry.find(RESOURCE, namespace, name)
        if found is None:
            return None
        obj = found.decode()
        if "deletionTimestamp" in obj["metadata"]:
            return None
        if finished_at := _finished_at(obj):
            return self._expire(obj, finished_at)
        if obj["spec"].get("completionMode") == "Indexed":
            text = "completionMode Indexed is not supported by the embedded world; use NonIndexed"
            self._recorder.warning(obj, "Unsupported", text)
            return None
        return self._advance(obj)

    def _expire(self, obj: Object, finished_at: datetime) -> float | None:
        ttl = obj["spec"].get("ttlSecondsAfterFinished")
        if ttl is None:
            return None
        left = float(ttl) - (datetime.now(UTC) - finished_at).total_seconds()
        if left > 0:
            return left
        self._registry.delete(RESOURCE, obj["metadata"]["namespace"], obj["metadata"]["name"])
        return None

    def _advance(self, obj: Object) -> float | None:
        before = obj.get("status") or {}
        held = pods.owned_pods(self._registry, obj)
        # A finished pod that somebody deleted stays counted.
        succeeded = max(_count(held, "Succeeded"), int(before.get("succeeded") or 0))
        failed = max(_count(held, "Failed"), int(before.get("failed") or 0))
        active = [pod for pod in held if pods.is_active(pod)]
        start_time = before.get("startTime") or now()
        again, outcome = None, self._outcome(obj, succeeded, failed, start_time)
        if outcome or obj["spec"].get("suspend"):
            for pod in active:
                self._registry.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"])
            active = []
        else:
            again = _backoff_left(held, failed)
            if again is None:
                active += self._create_missing(obj, len(active), succeeded)
        status: dict[str, Any] = {
            "startTime": start_time,
            "ready": sum(map(pods.is_ready, active)),
            "terminating": sum(map(pods.is_terminating, held)),
            "uncountedTerminatedPods": {},
        }
        counts = {"active": len(active), "succeeded": succeeded, "failed": failed}
        status.update({key: count for key, count in counts.items() if count})
        if outcome:
            kind, reason, message = outcome
            decided = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
            status["conditions"] = [_condition(each, reason, message) for each in (decided, kind)]
            if kind == "Complete":
                status["completionTime"] = now()
            record = self._recorder.normal if kind == "Complete" else self._recorder.warning
            record(obj, "Completed" if kind == "Complete" else reason, message)
        pods.set_status(self._registry, RESOURCE, obj, status)
        return again if again is not None else _deadline_left(obj, start_time)

    def _create_missing(self, obj: Object, active: int, succeeded: int) -> list[dict[str, Any]]:
        spec = obj["spec"]
        parallelism = 1 if spec.get("parallelism") is None else int(spec["parallelism"])
        completions = spec.get("completions")
        if completions is not None:
            room = int(completions) - succeeded - active
        else:  # a work queue: once one has succeeded, no more are started
            room = parallelism - active if not succeeded else 0
        made = []
        for _ in range(max(0, min(parallelism - active, room))):
            uid = obj["metadata"]["uid"]
            labels = {
                "batch.kubernetes.io/controller-uid": uid,
                "batch.kubernetes.io/job-name": obj["metadata"]["name"],
                "controller-uid": uid,
                "job-name": obj["metadata"]["name"],
            }
            pod = pods.from_template(obj, spec["template"], labels)
            pod["metadata"]["generateName"] = f"{obj['metadata']['name']}-"
            made.append(self._registry.create("pods", pod))
            self._recorder.normal(obj, "SuccessfulCreate", f"Created pod: {made[-1]['metadata']['name']}")
        return made

    def _outcome(
        self, obj: Object, succeeded: int, failed: int, start_time: str
    ) -> tuple[str, str, str] | None:
        spec = obj["spec"]
        limit = spec.get("backoffLimit")
        completions = spec.get("completions")
        active = [pod for pod in pods.owned_pods(self._registry, obj) if pods.is_active(pod)]
        if completions is not None and succeeded >= int(completions):
            return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
        if completions is None and succeeded and not active:
            return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
        if failed > (_DEFAULT_BACKOFF_LIMIT if limit is None else int(limit)):
            return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
        left = _deadline_left(obj, start_time)
        if left is not None and left <= 0:
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        return None


def _count(held: Sequence[Object], phase: str) -> int:
    return sum(1 for pod in held if pods.phase(pod) == phase)


def _condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    times = {"lastProbeTime": now(), "lastTransitionTime": now()}
    return {"type": kind, "status": "True", "reason": reason, "message": message, **times}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _finished_at(obj: Object) -> datetime | None:
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True":
            return _time(condition["lastTransitionTime"])
    return None


def _deadline_left(obj: Object, start_time: str) -> float | None:
    deadline = obj["spec"].get("activeDeadlineSeconds")
    if deadline is None:
        return None
    return float(deadline) - (datetime.now(UTC) - _time(start_time)).total_seconds()


def _backoff_left(held: Sequence[Object], failed: int) -> float | None:
    """Seconds until the next pod may be tried: 10 s after the first failure, doubling to 6 min."""
    ends = [end for pod in held if pods.phase(pod) == "Failed" and (end := _ended_at(pod))]
    if not failed or not ends:
        return None
    wait = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** (failed - 1))
    left = wait - (datetime.now(UTC) - max(ends)).total_seconds()
    return left if left > 0 else None


def _ended_at(pod: Object) -> datetime | None:
    ends = [
        _time(terminated["finishedAt"])
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
        if (terminated := status["state"].get("terminated")) and terminated.get("finishedAt")
    ]
    return max(ends, default=None)
