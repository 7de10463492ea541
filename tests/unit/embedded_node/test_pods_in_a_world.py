"""What a pod gets on the embedded node, in one real world."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

SERVER = ["python", "-u", "-m", "http.server", "8080"]
Until = Callable[..., Any]


def headless(api: Any, name: str) -> None:
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {"app": name},
        "ports": [{"port": 8080}],
    }
    api.create("services", "Service", name, spec=spec)


def make_set(api: Any, name: str, replicas: int, **pod: Any) -> None:
    container = {
        "name": "c",
        "image": "faultlab/faultlab:0.1.0",
        "command": SERVER,
        **pod.pop("container", {}),
    }
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **pod},
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    spec = {
        "replicas": replicas,
        "serviceName": name,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": name}},
        "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    meta = {"name": name, "namespace": "default"}
    body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec}
    api.call("POST", "/apis/apps/v1/namespaces/default/statefulsets", body)


def test_members_of_a_set_reach_each_other_by_name_and_by_nothing_else(api: Any, until: Until) -> None:
    headless(api, "web")
    began = time.monotonic()
    make_set(api, "web", 3, container={"readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}})
    until(lambda: all(api.phase(f"web-{n}") == "Running" for n in range(3)), "three pods run")
    took = time.monotonic() - began
    until(lambda: all(api.container(f"web-{n}").get("ready") for n in range(3)), "three pods are ready")
    script = """
import socket, urllib.request
suffixes = (".web", ".web.default", ".web.default.svc", ".web.default.svc.cluster.local")
for name in ("web-0" + suffixes[0], "web-1" + suffixes[1], "web-2" + suffixes[2], "web-2" + suffixes[3]):
    print(urllib.request.urlopen(f"http://{name}:8080/").status)
print(len({a[4][0] for a in socket.getaddrinfo("web", 8080, type=socket.SOCK_STREAM)}))
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError as error:
    print(error.strerror)
try:
    socket.getaddrinfo("no.such.name", 80)
except socket.gaierror:
    print("unknown")
print(socket.gethostname())
"""
    text = api.output("client", ["python", "-c", script])
    assert text.splitlines() == [*["200"] * 4, "3", "Network is unreachable", "unknown", "client"]
    assert took < 10, f"3 pods took {took:.1f} s"


def test_hosts_follow_a_pod_that_got_another_address(api: Any, until: Until) -> None:
    headless(api, "moving")
    make_set(api, "moving", 2)
    until(lambda: all(api.phase(f"moving-{n}") == "Running" for n in range(2)))
    script = "import time\nwhile True: print(open('/etc/hosts').read(), flush=True); time.sleep(.05)"
    api.run("watcher", ["python", "-c", script])
    old = api.pod("moving-1")["status"]["podIP"]
    api.delete("pods", "moving-1")
    until(lambda: (api.pod("moving-1") or {}).get("status", {}).get("podIP", old) != old, "another address")
    new = api.pod("moving-1")["status"]["podIP"]
    until(lambda: f"{new}\tmoving-1.moving " in api.logs("watcher", "?tailLines=20"), "the name follows")
    api.delete("pods", "watcher", 0)


def test_pod_sees_its_own_world_only(api: Any) -> None:
    script = (
        "echo $$$$; ls /sys/class/net | xargs; ls /proc | grep -c '^[0-9]'; hostname; cat /etc/hostname;"
        " touch /usr/x 2>/dev/null || echo host is safe; touch /tmp/y && echo tmp; ls /run"
    )
    text = api.output("alone", ["sh", "-c", script], automountServiceAccountToken=False).splitlines()
    assert text[:2] == ["1", "eth0 lo"]
    assert int(text[2]) <= 4
    assert text[3:] == ["alone", "alone", "host is safe", "tmp"]


def test_read_only_root_leaves_only_volumes_writable(api: Any) -> None:
    script = "for d in / /tmp /run /etc /data; do touch $d/x 2>/dev/null && echo $d; done; true"
    container = {
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "d", "mountPath": "/data"}],
    }
    volumes = [{"name": "d", "emptyDir": {"medium": "Memory"}}]
    assert api.output("sealed", ["sh", "-c", script], container=container, volumes=volumes) == "/data\n"


def test_volumes_and_environment_arrive(api: Any) -> None:
    api.create("configmaps", "ConfigMap", "settings", data={"a.txt": "hello", "b.txt": "other"})
    api.create("secrets", "Secret", "hidden", stringData={"key": "s3cret"})
    container = {
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "key"}}},
        ],
        "volumeMounts": [
            {"name": "cm", "mountPath": "/config"},
            {"name": "cm", "mountPath": "/etc/deep/er/one.txt", "subPath": "a.txt"},
            {"name": "s", "mountPath": "/etc/faultlab/agent/key", "readOnly": True},
            {"name": "labels", "mountPath": "/labels"},
        ],
    }
    items = [{"key": "a.txt", "path": path} for path in ("x/a.txt", "a.txt")]
    labels = [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]
    volumes = [
        {"name": "cm", "configMap": {"name": "settings", "items": items}},
        {"name": "s", "secret": {"secretName": "hidden"}},
        {"name": "labels", "downwardAPI": {"items": labels}},
    ]
    script = (
        "import os, json, glob; r = lambda p: open(p).read();"
        "k = '/var/run/secrets/kubernetes.io/serviceaccount/';"
        "print(json.dumps([os.environ['NAME'], os.environ['KEY'], r('/config/x/a.txt'),"
        " r('/etc/deep/er/one.txt'),"
        " r('/etc/faultlab/agent/key/key'), r('/labels/l'), r(k + 'namespace'), bool(r(k + 'token')),"
        " os.environ['IP'] in r('/etc/hosts'), os.environ['KUBERNETES_SERVICE_HOST']]))"
    )
    command = ["python", "-c", script]
    text = api.output("full", command, container=container, volumes=volumes, labels={"a": "b"})
    assert json.loads(text) == [
        "full", "s3cret", "hello", "hello", "s3cret", 'a="b"', "default", True, True, "10.88.0.1",
    ]  # fmt: skip


def test_pod_reaches_the_api_server_with_its_account(api: Any) -> None:
    script = """
import json, os, ssl, urllib.request
place = "/var/run/secrets/kubernetes.io/serviceaccount/"
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
request = urllib.request.Request(f"https://{host}:{port}/api/v1/namespaces/default/pods/{os.environ['HOSTNAME']}")
request.add_header("Authorization", "Bearer " + open(place + "token").read())
tls = ssl.create_default_context(cafile=place + "ca.crt")
print(json.load(urllib.request.urlopen(request, context=tls))["metadata"]["name"])
"""
    assert api.output("incluster", ["python", "-c", script]) == "incluster\n"


def test_changed_configmap_reaches_a_running_pod(api: Any, until: Until) -> None:
    api.create("configmaps", "ConfigMap", "live", data={"k": "old"})
    script = "import time\nwhile True: print(open('/c/k').read(), flush=True); time.sleep(.05)"
    mount = {"volumeMounts": [{"name": "c", "mountPath": "/c"}]}
    volumes = [{"name": "c", "configMap": {"name": "live"}}]
    api.run("reader", ["python", "-c", script], container=mount, volumes=volumes)
    until(lambda: api.phase("reader") == "Running" and "old" in api.logs("reader"), "the old value")
    api.merge("/api/v1/namespaces/default/configmaps/live", {"data": {"k": "new"}})
    until(lambda: "new" in api.logs("reader"), "the new value")
    api.delete("pods", "reader", 0)


def test_pod_waits_for_a_configmap_that_is_still_to_come(api: Any, until: Until) -> None:
    volumes = [{"name": "c", "configMap": {"name": "late"}}]
    api.run(
        "patient",
        ["cat", "/c/k"],
        volumes=volumes,
        container={"volumeMounts": [{"name": "c", "mountPath": "/c"}]},
    )
    until(lambda: any(e["reason"] == "FailedMount" for e in events(api, "patient")), "an Event says why")
    assert api.phase("patient") == "Pending"
    api.create("configmaps", "ConfigMap", "late", data={"k": "here"})
    until(lambda: api.phase("patient") == "Succeeded")
    assert api.logs("patient") == "here\n"


def events(api: Any, name: str) -> list[Any]:
    found = api.call("GET", "/api/v1/namespaces/default/events")["items"]
    return [event for event in found if event["involvedObject"]["name"] == name]


def test_unknown_image_says_what_exists(api: Any, until: Until) -> None:
    api.run("unknown", ["x"], container={"image": "nginx:1"})

    def waiting() -> Any:
        state = api.container("unknown").get("state", {}).get("waiting", {})
        return state if state.get("reason") in ("ErrImagePull", "ImagePullBackOff") else None

    state = until(waiting)
    assert "faultlab/faultlab:*" in state["message"]
    api.delete("pods", "unknown")
    until(lambda: api.pod("unknown") is None)


def test_missing_program_and_bad_directory_are_named(api: Any, until: Until) -> None:
    api.run("noprogram", ["no-such-program"])
    until(lambda: api.phase("noprogram") == "Failed")
    ended = api.container("noprogram")["state"]["terminated"]
    assert ended["reason"] == "StartError"
    assert "no-such-program" in ended["message"]
    api.run("nodir", ["true"], container={"workingDir": "/no/such/dir"})
    until(lambda: api.phase("nodir") == "Failed")
    assert "/no/such/dir" in api.container("nodir")["state"]["terminated"]["message"]


def test_crashing_container_restarts_at_once_and_then_backs_off(api: Any, until: Until) -> None:
    api.run("crash", ["sh", "-c", "echo run $HOSTNAME; exit 3"], restartPolicy="Always")

    def reason() -> str:
        return str((api.container("crash").get("state", {}).get("waiting") or {}).get("reason"))

    until(lambda: reason() == "CrashLoopBackOff", "it backs off")
    status = api.container("crash")
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert api.logs("crash") == "run crash\n"
    assert api.logs("crash", "?previous=true") == "run crash\n"
    api.delete("pods", "crash")
    until(lambda: api.pod("crash") is None, deadline_s=3)


def test_what_a_container_said_last_is_in_its_status_where_the_policy_says_so(api: Any, until: Until) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    api.run("told", ["sh", "-c", "echo one; echo two >&2; exit 3"], container=policy)
    api.run("well", ["sh", "-c", "echo all is well"], container=policy)
    api.run("silent", ["sh", "-c", "echo one; exit 3"])
    for name in ("told", "well", "silent"):
        until(lambda name=name: api.phase(name) in ("Failed", "Succeeded"))
    ended = {name: api.container(name)["state"]["terminated"] for name in ("told", "well", "silent")}
    assert sorted(ended["told"]["message"].splitlines()) == ["one", "two"]
    assert "message" not in ended["well"]
    assert "message" not in ended["silent"]


def test_killed_container_is_noticed_at_once_and_started_again(api: Any, until: Until) -> None:
    api.run("victim", ["sleep", "1000"], restartPolicy="Always")
    until(lambda: api.container("victim").get("ready"))
    first = api.container("victim")["containerID"]
    pid = container_pid(api, first)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: api.container("victim").get("ready") and api.container("victim")["containerID"] != first)
    assert time.monotonic() - killed < 3
    assert api.container("victim")["restartCount"] == 1
    assert api.container("victim")["lastState"]["terminated"]["exitCode"] == 137
    api.delete("pods", "victim", 0)


def container_pid(api: Any, container_id: str) -> int:
    """The container's process as this machine sees it, by way of its state file in the world's /run."""
    root = Path(f"/proc/{api.info.world_pid}/root/run/faultlab/containers")
    state = json.loads((root / container_id.removeprefix("embedded://") / "state.json").read_text())
    assert state["namespace_paths"]["NEWNET"] == f"/proc/{state['init_process_pid']}/ns/net"
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                status = (process / "status").read_text()
            except OSError:
                continue
            inner = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid")), [])
            same_world = len(inner) >= 3 and inner[-2] == str(state["init_process_pid"])
            if same_world and _is_below(int(process.name), api.info.world_pid):
                return int(process.name)
    raise AssertionError("the container's process was not found")


def _is_below(pid: int, ancestor: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1]) == ancestor


def test_state_file_goes_with_the_container(api: Any, until: Until) -> None:
    api.run("shortlived", ["sleep", "0.2"])
    until(lambda: api.phase("shortlived") == "Succeeded")
    identifier = api.container("shortlived")["containerID"].removeprefix("embedded://")
    root = Path(f"/proc/{api.info.world_pid}/root/run/faultlab/containers")
    assert not (root / identifier).exists()


def test_term_is_waited_for_and_kill_follows_the_grace(api: Any, until: Until) -> None:
    polite = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "print('listening', flush=True)\nwhile True: time.sleep(1)"
    )
    api.run("polite", ["python", "-c", polite], terminationGracePeriodSeconds=20)
    api.run("stubborn", ["sleep", "1000"], terminationGracePeriodSeconds=1)
    until(lambda: api.phase("polite") == api.phase("stubborn") == "Running")
    until(lambda: "listening" in api.logs("polite"), "it has its handler")
    began = time.monotonic()
    api.delete("pods", "polite")
    api.delete("pods", "stubborn")
    until(lambda: api.pod("polite") is None)
    polite_s = time.monotonic() - began
    until(lambda: api.pod("stubborn") is None)
    assert polite_s < 5
    assert 0.9 < time.monotonic() - began < 5


def test_liveness_probe_restarts_and_readiness_probe_only_hides(api: Any, until: Until) -> None:
    fails = {
        "exec": {"command": ["sh", "-c", "test ! -e /tmp/bad"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    command = ["sh", "-c", "sleep 2; touch /tmp/bad; exec sleep 1000"]
    api.run("sick", command, restartPolicy="Always", container={"livenessProbe": fails})
    api.run("shy", command, restartPolicy="Always", container={"readinessProbe": fails})
    until(lambda: api.container("shy").get("ready"), "ready at first")
    until(lambda: api.container("sick").get("restartCount") == 1, "restarted")
    until(lambda: api.container("shy").get("ready") is False, "unready later")
    assert api.container("shy")["restartCount"] == 0
    assert any(e["reason"] == "Unhealthy" for e in events(api, "sick"))
    for name in ("sick", "shy"):
        api.delete("pods", name, 0)


def test_init_containers_run_in_order_and_their_failure_ends_the_pod(api: Any, until: Until) -> None:
    mount = [{"name": "d", "mountPath": "/d"}]
    image = "faultlab/faultlab:0.1.0"
    first = {"name": "i1", "image": image, "command": ["sh", "-c", "echo 1 >> /d/f"], "volumeMounts": mount}
    second = {**first, "name": "i2", "command": ["sh", "-c", "echo 2 >> /d/f"]}
    spec = {"volumes": [{"name": "d", "emptyDir": {}}], "initContainers": [first, second]}
    text = api.output("ordered", ["cat", "/d/f"], container={"volumeMounts": mount}, **spec)
    assert text == "1\n2\n"
    spec["initContainers"] = [{**first, "command": ["false"]}]
    api.run("halted", ["true"], **spec)
    until(lambda: api.phase("halted") == "Failed")
    assert "running" not in api.container("halted")["state"]


def test_claim_keeps_its_data_over_the_pod_and_goes_with_the_claim(api: Any, until: Until) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    made = api.create("persistentvolumeclaims", "PersistentVolumeClaim", "disk", spec=claim)
    spec = {
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "disk"}}],
        "container": {"volumeMounts": [{"name": "d", "mountPath": "/data"}]},
    }
    api.output("writer", ["sh", "-c", "echo kept > /data/f"], **json.loads(json.dumps(spec)))
    assert api.output("reader2", ["cat", "/data/f"], **json.loads(json.dumps(spec))) == "kept\n"
    bound = api.find("/api/v1/namespaces/default/persistentvolumeclaims/disk")
    assert bound["status"]["phase"] == "Bound"
    directory = Path(api.info.home) / "claims" / made["metadata"]["uid"]
    assert (directory / "f").exists()
    for name in ("writer", "reader2"):
        api.delete("pods", name)
    api.delete("persistentvolumeclaims", "disk")
    until(lambda: not directory.exists(), "the data goes")


def test_followed_log_ends_with_the_container(api: Any) -> None:
    api.run("talker", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.3; done"])
    lines: list[str] = []

    def read() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                lines.append(api.logs("talker", "?follow=true"))
                return
            except urllib.error.HTTPError:
                time.sleep(0.05)

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(15)
    assert lines == ["1\n2\n3\n"]


def test_node_selector_that_matches_nothing_keeps_the_pod_pending(api: Any, until: Until) -> None:
    api.run("picky", ["true"], nodeSelector={"disk": "fast"})
    until(lambda: ((api.pod("picky") or {}).get("status") or {}).get("conditions"))
    condition = api.pod("picky")["status"]["conditions"][0]
    assert condition["reason"] == "Unschedulable"
    assert "disk=fast" in condition["message"]
    api.delete("pods", "picky")


def test_redis_and_etcd_images_run(api: Any, until: Until) -> None:
    probe = {"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 1}
    redis = {"image": "redis:7", "command": None, "readinessProbe": probe}
    api.run("redis", [], container={k: v for k, v in redis.items() if v is not None})
    etcd = ["/usr/local/bin/etcd", "--data-dir", "/tmp/etcd"]
    health = {"httpGet": {"port": 2379, "path": "/health"}, "periodSeconds": 1}
    urls = ["--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls", "http://127.0.0.1:2379"]
    api.run(
        "etcd", [*etcd, *urls], container={"image": "quay.io/coreos/etcd:v3.5.1", "readinessProbe": health}
    )
    until(lambda: api.container("redis").get("ready"), "redis is ready")
    until(lambda: api.container("etcd").get("ready"), "etcd is ready")
    host = api.find("/api/v1/namespaces/default/pods/redis")["status"]["podIP"]
    client: dict[str, Any] = {"container": {"image": "redis:7"}}
    assert api.output("redis-caller", ["redis-cli", "-h", host, "ping"], **client) == "PONG\n"
    for name in ("redis", "etcd"):
        api.delete("pods", name, 0)


def test_host_network_pod_lives_where_the_bridge_is(api: Any) -> None:
    script = "ls /sys/class/net | xargs; ls /run/faultlab/containers | wc -l; cat /proc/1/comm"
    volumes = [{"name": "c", "hostPath": {"path": "/run/faultlab/containers"}}]
    container = {
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "c", "mountPath": "/run/faultlab/containers"}],
    }
    spec = {"hostNetwork": True, "hostPID": True, "volumes": volumes, "container": container}
    text = api.output("agentlike", ["sh", "-c", script], **spec).splitlines()
    assert "faultlab0" in text[0]
    assert int(text[1]) >= 1
    assert text[2].startswith("python")


def test_pages_reach_two_ports_from_local_pages_only(api: Any, until: Until) -> None:
    api.run("page", SERVER, container={"ports": [{"name": "web", "containerPort": 8080}]})
    until(lambda: api.phase("page") == "Running")
    url = f"{api.info.pages_url}/api/v1/namespaces/default/pods/page"

    def status(address: str, method: str = "GET", **headers: str) -> int:
        request = urllib.request.Request(address, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    until(lambda: status(f"{url}:8080/proxy/") == 200, "the page is served")
    assert status(f"{url}:8080/proxy/", Host="evil.example") == 403
    assert status(f"{url}:8080/proxy/", Origin="http://evil.example") == 403
    forged = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}
    assert status(f"{url}:8080/proxy/", **forged) == 403
    assert status(f"{url}:8080/proxy/", **{**forged, "Sec-Fetch-Dest": "document"}) == 200
    assert status(f"{url}:7002/proxy/") == 403
    assert status(f"{url}:8080/proxy/", method="DELETE") == 405
    assert status(f"{api.info.pages_url}/api/v1/namespaces/default/secrets") == 404
    with urllib.request.urlopen(api.info.pages_url, timeout=5) as answer:
        shown = answer.read().decode()
    assert "/api/v1/namespaces/default/pods/page:8080/proxy/" in shown
    assert "port 8080, web" in shown
    api.delete("pods", "page", 0)
