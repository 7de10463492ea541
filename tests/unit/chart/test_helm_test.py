"""The program that `helm test` runs, against servers that are as they should be or not."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from chart_lab import CHART, NAMESPACE, one, render

from faultlab_operator.api import KINDS

AGENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/faultlab-agent"
PLURALS = [model.plural for model in KINDS.values()]
LISTS = [f"/apis/faultlab.dev/v1alpha1/namespaces/{NAMESPACE}/{plural}" for plural in PLURALS]
HEALTHY: dict[str, Any] = {
    "/readyz": "ok",
    AGENTS: {"status": {"desiredNumberScheduled": 4, "numberReady": 4}},
    **{path: {"items": []} for path in LISTS},
}


class Server(ThreadingHTTPServer):
    """Operator and API server in one."""

    answers: dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        known = path in self.server.answers
        if path != "/readyz" and self.headers["Authorization"] != "Bearer secret":
            self.send_response(401)
            content = b"who are you"
        else:
            self.send_response(200 if known else 404)
            content = json.dumps(self.server.answers.get(path, f"no {path}")).encode()
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing to stderr."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.answers = dict(HEALTHY)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(server: Server, folder: Path) -> subprocess.CompletedProcess[str]:
    """The program as the rendered pod runs it, but for where the servers are."""
    (folder / "token").write_text("secret\n")
    container = one(render(), "Pod", "faultlab-test")["spec"]["containers"][0]
    url = f"http://127.0.0.1:{server.server_port}"
    environment = {
        **os.environ,
        **{item["name"]: item["value"] for item in container["env"] if "value" in item},
        "POD_NAMESPACE": NAMESPACE,
        "OPERATOR_URL": url,
        "API_URL": url,
        "ACCOUNT": str(folder),
        "PATIENCE_S": "0",
    }
    command = [sys.executable, *container["command"][1:]]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_lab_that_is_well_passes(server: Server, tmp_path: Path) -> None:
    done = run(server, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agents are ready on all 4 nodes" in done.stdout
    assert done.stdout.count("are served") == len(PLURALS)
    assert "FAIL" not in done.stdout


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"/readyz": None}, "/readyz: 404"),
        ({AGENTS: {"status": {"desiredNumberScheduled": 4, "numberReady": 3}}}, "ready on 3 of 4 nodes"),
        ({AGENTS: {"status": {"desiredNumberScheduled": 0, "numberReady": 0}}}, "agent.nodeSelector"),
        ({AGENTS: None}, "daemonsets/faultlab-agent: 404"),
        *(({path: None}, f"{path}?limit=1: 404") for path in LISTS),
    ],
    ids=["no operator", "a node without agent", "no node at all", "no agents", *PLURALS],
)
def test_a_lab_that_lacks_something_fails_and_says_what(
    server: Server, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    answers = {**server.answers, **change}
    server.answers = {path: answer for path, answer in answers.items() if answer is not None}
    done = run(server, tmp_path)
    assert done.returncode == 1
    assert says in done.stdout
    assert done.stdout.count("FAIL") == 1
    assert "Traceback" not in done.stderr


def test_every_check_is_what_the_tests_account_may_do() -> None:
    rules = one(render(), "Role", "faultlab-test")["rules"]
    assert {plural for rule in rules for plural in rule["resources"]} == {"daemonsets", *PLURALS}
    assert (
        CHART.joinpath("files", "check.py").read_text().strip()
        in (one(render(), "Pod", "faultlab-test")["spec"]["containers"][0]["command"][2])
    )
