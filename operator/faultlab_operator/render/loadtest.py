"""LoadTest -> ConfigMap and one bare Pod: a load that died must not start again and spoil a history."""

from typing import Final

from faultlab.contract.load import Arrival, Keys, LoadConfig, Mix
from faultlab.contract.member import PeerAddress
from faultlab.contract.ports import LOCUST_PORT
from faultlab_operator.api import LoadTest
from faultlab_operator.render.common import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Object,
    child_labels,
    child_metadata,
    config_map,
    http_probe,
)

APP: Final = "load"
COMPONENT: Final = "load"
LOGIN_FOLDER: Final = "/etc/faultlab/login"
TERMINATION_GRACE_S: Final = 5


def load_pod_name(name: str) -> str:
    return f"{name}-load"


def load_config(load: LoadTest, members: tuple[PeerAddress, ...], seed: int) -> LoadConfig:
    """What the load pod reads; `seed` is used where the spec names none."""
    spec = load.spec
    return LoadConfig(
        name=load.metadata.name,
        members=members,
        users=spec.users,
        workers=spec.workers,
        arrival=Arrival(spec.arrival.mode, spec.arrival.operations_per_second),
        mix=Mix(spec.mix.read, spec.mix.write, spec.mix.cas, spec.mix.append, spec.mix.incr),
        keys=Keys(spec.keys.count, spec.keys.distribution, spec.keys.exponent),
        operation_timeout_ms=round(spec.operation_timeout.ms),
        retries=spec.retries,
        sessions=spec.sessions,
        login_dir=LOGIN_FOLDER if spec.client_auth is not None else None,
        record=spec.record,
        seed=spec.seed if spec.seed is not None else seed,
        # A system may outlive a load: what an earlier one wrote must not be read by this one.
        key_prefix=f"{load.metadata.uid[:8]}-",
    )


def load_children(load: LoadTest, members: tuple[PeerAddress, ...], seed: int, image: str) -> list[Object]:
    """The load's ConfigMap and Pod."""
    name = load.metadata.name
    labels = child_labels(APP, COMPONENT, name, load.spec.system.kind, load.spec.system.name)
    config = config_map(
        f"{name}-load-config", "LoadTest", load.metadata, labels, load_config(load, members, seed)
    )
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": child_metadata(load_pod_name(name), "LoadTest", load.metadata, labels),
        "spec": _pod_spec(load, image),
    }
    return [config, pod]


def _pod_spec(load: LoadTest, image: str) -> Object:
    auth = load.spec.client_auth
    mounts: list[Object] = []
    volumes: list[Object] = []
    if auth is not None:
        mounts = [{"name": "login", "mountPath": LOGIN_FOLDER, "readOnly": True}]
        volumes = [{"name": "login", "secret": {"secretName": auth.secret_name}}]
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": TERMINATION_GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": [
            {
                "name": "load",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["faultlab-load", "--config", "/config/config.json"],
                "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "ports": [{"name": "web", "containerPort": LOCUST_PORT, "protocol": "TCP"}],
                "resources": {
                    "requests": {"cpu": f"{100 * load.spec.workers}m", "memory": "128Mi"},
                    "limits": {"memory": f"{512 + 256 * load.spec.workers}Mi"},
                },
                "securityContext": CONTAINER_SECURITY,
                "readinessProbe": http_probe("/faultlab/status", "web", period_s=1, failures=3, timeout_s=2),
                "volumeMounts": [
                    {"name": "config", "mountPath": "/config", "readOnly": True},
                    {"name": "data", "mountPath": "/data"},
                    {"name": "tmp", "mountPath": "/tmp"},
                    *mounts,
                ],
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": f"{load.metadata.name}-load-config"}},
            {"name": "data", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            *volumes,
        ],
    }
