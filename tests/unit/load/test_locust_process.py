"""The real process: Locust with its page, the lab's routes, and the history that it leaves."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_member import FakeMember, serving, store

from faultlab.checker import check
from faultlab.history.events import read_events

LOAD = [sys.executable, "-c", "from faultlab.load.main import main; main()"]


def _config(path: Path, fakes: list[FakeMember], **settings: Any) -> Path:
    config = path / "config.json"
    addresses = [{"name": f"m-{i}", "host": "127.0.0.1", "clientPort": m.port} for i, m in enumerate(fakes)]
    document = {
        "name": "demo",
        "members": addresses,
        "users": 6,
        "dataDir": str(path),
        "keys": {"count": 5},
        "mix": {"read": 40, "write": 20, "cas": 10, "append": 20, "incr": 10},
        **settings,
    }
    config.write_text(json.dumps(document))
    return config


@contextmanager
def _running(config: Path, port: int) -> Iterator[str]:
    log = (config.parent / "load.log").open("wb")
    process = subprocess.Popen(
        [*LOAD, "--config", str(config), "--listen", "127.0.0.1", "--port", str(port)],
        stdout=log,
        stderr=log,
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(15)
        log.close()


def _get(url: str, method: str = "GET") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=5) as answer:
        return bytes(answer.read())


def _wait_for(base: str, phase: str, at_least: int = 0) -> dict[str, Any]:
    deadline = time.monotonic() + 25
    status: dict[str, Any] = {}
    while time.monotonic() < deadline:
        try:
            status = json.loads(_get(f"{base}/faultlab/status"))
            if status["phase"] == phase and status["ok"] >= at_least:
                return status
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"never {phase} with {at_least} ok: {status}")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_offers_its_rate_to_every_member_and_leaves_a_complete_history(
    tmp_path: Path, workers: int, unused_tcp_port: int
) -> None:
    answer = store()
    with serving(answer) as first, serving(answer) as second:
        arrival = {"mode": "constantRate", "operationsPerSecond": 300}
        config = _config(tmp_path, [first, second], workers=workers, arrival=arrival)
        with _running(config, unused_tcp_port) as base:
            status = _wait_for(base, "running", at_least=400)
            assert 200 < status["window"]["operationsPerSecond"] < 400
            assert b"Locust" in _get(base)
            _get(f"{base}/faultlab/finish", "POST")
            status = _wait_for(base, "finished")
            events = [json.loads(line) for line in _get(f"{base}/faultlab/history").splitlines()]
    kinds = Counter(event["type"] for event in events)
    assert kinds["invoke"] == kinds["ok"] + kinds["fail"] + kinds["info"]
    assert kinds["ok"] == status["ok"]
    assert {event["member"] for event in events} == {"m-0", "m-1"}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    offered = {event["key"] for event in events if event["f"] != "read"}
    final = [event for event in events if event["type"] == "ok"][-len(offered) :]
    assert {event["f"] for event in final} == {"read"}
    assert {key[0] for key in offered} == set("klc")
    path = tmp_path / "history.ndjson"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert check(read_events(path), "mixed").result == "valid"
    assert len(first.commands) + len(second.commands) == kinds["invoke"]


def test_headless_runs_for_its_time_and_ends_by_itself(tmp_path: Path) -> None:
    with serving(store()) as member:
        config = _config(tmp_path, [member])
        ended = subprocess.run(
            [*LOAD, "--config", str(config), "--headless", "--run-time", "3s"],
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "history-0.ndjson").read_bytes().count(b'"ok"') > 20


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"members": []}, "name at least one"),
        ({"workers": 9}, "at most one worker for each user"),
        ({"arrival": {"mode": "constantRate"}}, "operationsPerSecond"),
        ({"mix": {"read": 0, "write": 0, "cas": 0}}, "above 0"),
        ({"mix": {"incr": -1}}, "negative"),
        ({"colour": "red"}, "colour"),
        ({"loginDir": "/nowhere"}, "/nowhere/username"),
    ],
)
def test_a_bad_configuration_is_refused_with_a_hint(
    tmp_path: Path, settings: dict[str, Any], hint: str
) -> None:
    config = _config(tmp_path, [FakeMember(store())], **settings)
    ended = subprocess.run([*LOAD, "--config", str(config)], capture_output=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert hint in ended.stderr.decode()
