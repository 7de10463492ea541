"""What `helm test` runs in its pod: the operator serves, every node has its agent, the kinds are there.

Prints a line a check and exits 1 if one fails. Waits up to PATIENCE_S seconds for what is still starting.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

PATIENCE_S = float(os.environ.get("PATIENCE_S", "60"))
NAMESPACE = os.environ["POD_NAMESPACE"]
OPERATOR = os.environ.get("OPERATOR_URL", f"http://faultlab-pages.{NAMESPACE}.svc:8080")
API = os.environ.get("API_URL", "https://kubernetes.default.svc")
ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))


class NotYet(Exception):
    """The check fails as things stand, in words."""


def get(url: str, **headers: str) -> bytes:
    authority = ACCOUNT / "ca.crt"
    context = ssl.create_default_context(cafile=str(authority)) if url.startswith("https:") else None
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as error:
        raise NotYet(f"{url}: {error.code} {error.read(300).decode(errors='replace').strip()}") from error
    except OSError as error:
        raise NotYet(f"{url}: {error}") from error


def api(path: str) -> Any:
    token = (ACCOUNT / "token").read_text().strip()
    return json.loads(get(API + path, Authorization=f"Bearer {token}"))


def operator_is_ready() -> str:
    get(OPERATOR + "/readyz")
    return "the operator is ready"


def agents_are_ready() -> str:
    status = api(f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets/faultlab-agent")["status"]
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if not wanted:
        raise NotYet("no node is to have an agent: look at the values agent.nodeSelector and agent.affinity")
    if ready < wanted:
        raise NotYet(f"agents are ready on {ready} of {wanted} nodes")
    return f"agents are ready on all {wanted} nodes that are to have one"


def kind_answers(plural: str) -> str:
    api(f"/apis/faultlab.dev/v1alpha1/namespaces/{NAMESPACE}/{plural}?limit=1")
    return f"{plural}.faultlab.dev are served"


def holds(check: Callable[[], str], deadline: float) -> bool:
    while True:
        try:
            print(f"ok    {check()}", flush=True)
            return True
        except NotYet as problem:
            if time.monotonic() > deadline:
                print(f"FAIL  {problem}", flush=True)
                return False
        time.sleep(0.5)


def main() -> int:
    deadline = time.monotonic() + PATIENCE_S
    checks: list[Callable[[], str]] = [operator_is_ready, agents_are_ready]
    checks += [partial(kind_answers, plural) for plural in os.environ["KINDS"].split(",")]
    results = [holds(check, deadline) for check in checks]
    return 0 if all(results) else 1


sys.exit(main())
