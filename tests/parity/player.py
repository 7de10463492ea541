"""Says a conversation to both servers and compares what they answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import yaml
from parity.compare import Difference, differences, is_a_name, normalised
from parity.conversation import Conversation, Step, address, at_path, filled, holds

SETTLES_WITHIN_S = 60.0
POLL_S = 0.05
EVENT_WITHIN_S = 20.0


class _Yaml(yaml.SafeLoader):
    """Leaves times as they are written."""


_Yaml.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


@dataclass
class Answer:
    code: int
    type: str
    warnings: list[str]
    body: Any


@dataclass
class Side:
    """One server; `names` are what the conversation that runs has saved.

    `shared`: the server outlives the session, so that what was made has to go again.
    """

    name: str
    http: httpx.Client
    shared: bool = False
    names: dict[str, Any] = field(default_factory=dict)
    stands_for: dict[str, str] = field(default_factory=dict)

    def begin(self, namespace: str) -> None:
        """Makes a namespace and waits until pods may be created in it."""
        self.names = {"ns": namespace}
        self.stands_for = {namespace: "<ns>"}
        made = self.http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}})
        assert made.status_code == 201, f"{self.name}: {made.text}"
        for first in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            self._await(Step("GET", first, until={"code": 200}), f"/api/v1/namespaces/{namespace}/{first}")

    def ask(self, step: Step, homes: Mapping[str, str]) -> Answer:
        path = filled(address(step.path, homes), self.names)
        answer = self._await(step, path) if step.until is not None else self._send(step, path)
        for name, where in step.save.items():
            value = at_path(answer.body, where)
            assert value is not None, f"{self.name}: {step}: no {where} in {answer.body}"
            self.names[name] = value
            if is_a_name(value):
                self.stands_for[value] = f"<{name}>"
        return answer

    def request(self, step: Step, path: str) -> httpx.Request:
        headers = {"Accept": step.accept or "application/json"}
        content = None
        if step.body is not None:
            body = filled(step.body, self.names)
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            headers["Content-Type"] = step.content_type or "application/json"
        return self.http.build_request(step.method, path, content=content, headers=headers)

    def _send(self, step: Step, path: str) -> Answer:
        return self.understood(self.http.send(self.request(step, path)))

    def _await(self, step: Step, path: str) -> Answer:
        assert step.until is not None
        deadline = time.monotonic() + SETTLES_WITHIN_S
        while True:
            answer = self._send(step, path)
            if holds(step.until, answer.code, answer.body):
                return answer
            waited = f"{self.name}: {step}: not {step.until} within {SETTLES_WITHIN_S} s: {answer.body}"
            assert time.monotonic() < deadline, waited
            time.sleep(POLL_S)

    def understood(self, response: httpx.Response, body: Any = None) -> Answer:
        media = response.headers.get("Content-Type", "").partition(";")[0]
        if body is None:
            try:
                body = yaml.load(response.text, _Yaml) if media == "application/yaml" else response.json()
            except ValueError:
                body = response.text
        return Answer(response.status_code, media, response.headers.get_list("Warning"), body)

    def plain(self, answer: Answer) -> Answer:
        """Without what may differ."""
        warnings = [normalised(warning, self.stands_for) for warning in answer.warnings]
        return Answer(answer.code, answer.type, warnings, normalised(answer.body, self.stands_for))


@dataclass(frozen=True)
class Found:
    """A difference, with the step in whose answer it is."""

    step: str
    difference: Difference


class Player:
    """Plays conversations to both sides, each in a namespace of its own that both name alike."""

    def __init__(
        self, embedded: Side, real: Side, run: str, homes: Mapping[str, str], namespaces: list[str]
    ) -> None:
        self._sides = (embedded, real)
        self._run = run
        self._homes = homes
        self._namespaces = namespaces

    def play(self, talk: Conversation) -> list[Found]:
        """Every difference in the answers to all steps."""
        slug = "".join(char if char.isalnum() else "-" for char in f"{talk.category}-{talk.name}".lower())
        namespace = f"parity-{self._run}-{slug}"[:60].strip("-")
        self._namespaces.append(namespace)
        try:
            for side in self._sides:
                side.begin(namespace)
            return [found for step in talk.steps for found in self._step(talk, step)]
        finally:
            for side in self._sides:
                for path in talk.cleanup:
                    side.http.delete(filled(path, side.names))
                if side.shared:
                    side.http.delete(f"/api/v1/namespaces/{namespace}")

    def _step(self, talk: Conversation, step: Step) -> list[Found]:
        label = f"{talk.id}: {step}"
        if step.events is not None:
            return self._watch(talk, step, label)
        answers = [side.plain(side.ask(step, self._homes)) for side in self._sides]
        for path in talk.without:
            for answer in answers:
                remove(answer.body, path)
        return [Found(label, found) for found in compare(*answers)]

    def _watch(self, talk: Conversation, step: Step, label: str) -> list[Found]:
        """A watch on both sides, with what happens during it."""
        found: list[Found] = []
        responses = []
        for side in self._sides:
            path = filled(address(step.path, self._homes), side.names)
            request = side.request(step, path)
            request.extensions["timeout"] = httpx.Timeout(EVENT_WITHIN_S).as_dict()
            responses.append(side.http.send(request, stream=True))
        try:
            for inner in step.during:
                found += self._step(talk, inner)
            answers = [
                side.plain(_events(side, step, response))
                for side, response in zip(self._sides, responses, strict=True)
            ]
        finally:
            for response in responses:
                response.close()
        return found + [Found(label, difference) for difference in compare(*answers)]


def remove(body: Any, path: str) -> None:
    """Take the value at a dotted path out of an answer, where it has one."""
    *parents, last = path.split(".")
    inner = at_path(body, ".".join(parents))
    if isinstance(inner, dict):
        inner.pop(last, None)


def _events(side: Side, step: Step, response: httpx.Response) -> Answer:
    """The first events of a watch, or the answer where it is none; a watch that ends before has fewer."""
    if response.status_code != 200:
        response.read()
        return side.understood(response)
    events: list[Any] = []
    try:
        for line in response.iter_lines():
            events.append(json.loads(line))
            if len(events) == step.events:
                break
    except httpx.ReadTimeout:
        events.append(f"no further event within {EVENT_WITHIN_S} s")
    return side.understood(response, events)


def compare(embedded: Answer, real: Answer) -> list[Difference]:
    found = []
    for part in ("code", "type", "warnings", "body"):
        found += differences(getattr(embedded, part), getattr(real, part), part)
    return found
