"""What may be wrong with a pod's spec. Source: kubernetes `pkg/apis/core/validation`, the parts that catch
mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from faultlab_embedded.kinds.checks import at_least, duplicates, one_of, port_name, port_number
from faultlab_embedded.kinds.podparts import (
    check_exec,
    check_files,
    check_hooks,
    check_ids,
    check_resource_names,
    check_source,
    check_tolerations,
    within,
)
from faultlab_embedded.kinds.podspec import PROBES
from faultlab_embedded.schema import quantity
from faultlab_embedded.store import names
from faultlab_embedded.store.errors import FieldError
from faultlab_embedded.store.strategy import Object

RESTART_POLICIES = ("Always", "OnFailure", "Never")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_HANDLERS = ("exec", "grpc", "httpGet", "tcpSocket")


def check_spec(spec: Object | None, path: str, *, claims: Iterable[str] = ()) -> list[FieldError]:
    """Everything wrong with a pod's spec. `claims`: volumes that a StatefulSet adds from its templates."""
    if spec is None:
        return [FieldError.required(path)]
    volumes = spec.get("volumes") or []
    errors = _check_volumes(volumes, f"{path}.volumes")
    known = {volume.get("name") for volume in volumes} | set(claims)
    if not spec.get("containers"):
        errors.append(FieldError.required(f"{path}.containers"))
    taken: set[str] = set()
    for listed in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(listed) or ()):
            errors += _check_container(container, f"{path}.{listed}[{index}]", known, taken)
    errors += one_of(f"{path}.restartPolicy", spec.get("restartPolicy"), RESTART_POLICIES)
    policies = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    errors += one_of(f"{path}.dnsPolicy", spec.get("dnsPolicy"), policies)
    errors += within(f"{path}.activeDeadlineSeconds", spec.get("activeDeadlineSeconds"), 1)
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            errors += names.label(f"{path}.{name}", spec[name])
    errors += check_tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    errors += check_ids(spec.get("securityContext") or {}, f"{path}.securityContext")
    if spec.get("nodeName"):
        errors += names.subdomain(f"{path}.nodeName", spec["nodeName"])
    if spec.get("serviceAccountName"):
        errors += names.subdomain(f"{path}.serviceAccountName", spec["serviceAccountName"])
    errors += names.label_errors(f"{path}.nodeSelector", spec.get("nodeSelector"))
    return errors


def check_template(
    template: Object | None, policies: Sequence[str], *, claims: Iterable[str] = (), endless: str = ""
) -> list[FieldError]:
    """Everything wrong with `spec.template`, whose pods may restart only as `policies` say.

    `endless`: the name of a kind whose pods may have no deadline.
    """
    path = "spec.template"
    if not template:
        return [FieldError.required(path)]
    meta = template.get("metadata") or {}
    errors = names.label_errors(f"{path}.labels", meta.get("labels"))
    errors += names.annotation_errors(f"{path}.annotations", meta.get("annotations"))
    errors += check_spec(template.get("spec"), f"{path}.spec", claims=claims)
    policy = (template.get("spec") or {}).get("restartPolicy")
    if policy in RESTART_POLICIES and policy not in policies:
        errors.append(FieldError.not_supported(f"{path}.spec.restartPolicy", policy, policies))
    if endless and "activeDeadlineSeconds" in (template.get("spec") or {}):
        detail = f"activeDeadlineSeconds in {endless} is not Supported"
        errors.append(FieldError.forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return errors


def _check_container(container: Object, path: str, volumes: set[Any], taken: set[str]) -> list[FieldError]:
    name = container.get("name")
    errors: list[FieldError] = []
    if not name:
        errors.append(FieldError.required(f"{path}.name"))
    elif name in taken:
        errors.append(FieldError.duplicate(f"{path}.name", name))
    else:
        errors += names.label(f"{path}.name", name)
        taken.add(name)
    image = container.get("image")
    if not image:
        errors.append(FieldError.required(f"{path}.image"))
    elif image != image.strip():
        errors.append(
            FieldError.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
        )
    pulls = ("Always", "IfNotPresent", "Never")
    errors += one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), pulls)
    errors += _check_ports(container.get("ports") or [], f"{path}.ports")
    errors += _check_env(container.get("env") or [], f"{path}.env")
    errors += _check_mounts(container.get("volumeMounts") or [], f"{path}.volumeMounts", volumes)
    errors += check_resource_names(container.get("resources") or {}, f"{path}.resources")
    errors += check_resources(container.get("resources") or {}, f"{path}.resources")
    errors += check_hooks(container, path)
    for probe in PROBES:
        if probe in container:
            errors += _check_probe(container[probe], f"{path}.{probe}", exact=probe != "readinessProbe")
    return errors


def _check_ports(ports: list[Object], path: str) -> list[FieldError]:
    errors = duplicates(path, ports, "name")
    for index, port in enumerate(ports):
        where = f"{path}[{index}]"
        if not port.get("containerPort"):
            errors.append(FieldError.required(f"{where}.containerPort"))
        else:
            errors += port_number(f"{where}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            errors += port_number(f"{where}.hostPort", port["hostPort"])
        if port.get("name"):
            errors += port_name(f"{where}.name", port["name"])
        errors += one_of(f"{where}.protocol", port.get("protocol"), _PROTOCOLS, required=True)
    return errors


def _check_env(variables: list[Object], path: str) -> list[FieldError]:
    errors = []
    for index, variable in enumerate(variables):
        where = f"{path}[{index}]"
        if not variable.get("name"):
            errors.append(FieldError.required(f"{where}.name"))
        elif "=" in variable["name"] or not variable["name"].isprintable():
            detail = (
                "a valid environment variable name must consist only of printable ASCII characters "
                "other than '='"
            )
            errors.append(FieldError.invalid(f"{where}.name", variable["name"], detail))
        source = variable.get("valueFrom")
        if source is None:
            continue
        if variable.get("value"):
            detail = "may not be specified when `value` is not empty"
            errors.append(FieldError.invalid(f"{where}.valueFrom", "", detail))
        if len(source) != 1:
            detail = (
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
            )
            errors.append(FieldError.invalid(f"{where}.valueFrom", "", detail))
        errors += check_source(source, f"{where}.valueFrom")
    return errors


def _check_mounts(mounts: list[Object], path: str, volumes: set[Any]) -> list[FieldError]:
    errors, places = [], set()
    for index, mount in enumerate(mounts):
        where = f"{path}[{index}]"
        if not mount.get("name"):
            errors.append(FieldError.required(f"{where}.name"))
        if mount.get("name", "") not in volumes:
            errors.append(FieldError.not_found(f"{where}.name", mount.get("name", "")))
        place = mount.get("mountPath")
        if not place:
            errors.append(FieldError.required(f"{where}.mountPath"))
        elif place in places:
            errors.append(FieldError.invalid(f"{where}.mountPath", place, "must be unique"))
        places.add(place)
    return errors


def _check_volumes(volumes: list[Object], path: str) -> list[FieldError]:
    errors = duplicates(path, volumes, "name")
    for index, volume in enumerate(volumes):
        where = f"{path}[{index}]"
        if not volume.get("name"):
            errors.append(FieldError.required(f"{where}.name"))
        else:
            errors += names.label(f"{where}.name", volume["name"])
        sources = [key for key in volume if key != "name"]
        if not sources:
            errors.append(FieldError.required(where, "must specify a volume type"))
        for extra in sources[1:]:
            errors.append(FieldError.forbidden(f"{where}.{extra}", "may not specify more than 1 volume type"))
        errors += check_files(volume, where)
        if "configMap" in volume and not volume["configMap"].get("name"):
            errors.append(FieldError.required(f"{where}.configMap.name"))
        if "secret" in volume and not volume["secret"].get("secretName"):
            errors.append(FieldError.required(f"{where}.secret.secretName"))
        if "persistentVolumeClaim" in volume and not volume["persistentVolumeClaim"].get("claimName"):
            errors.append(FieldError.required(f"{where}.persistentVolumeClaim.claimName"))
        if "hostPath" in volume and not volume["hostPath"].get("path"):
            errors.append(FieldError.required(f"{where}.hostPath.path"))
    return errors


def check_resources(resources: Object, path: str) -> list[FieldError]:
    """That quantities are some, not negative, and requests within limits."""
    errors: list[FieldError] = []
    values: dict[tuple[str, str], Any] = {}
    for listed in ("limits", "requests"):
        for name, text in (resources.get(listed) or {}).items():
            where = f"{path}.{listed}[{name}]"
            try:
                value = values[listed, name] = quantity.parse(text)
            except ValueError as error:
                errors.append(FieldError.invalid(where, text, str(error)))
                continue
            if value < 0:
                errors.append(FieldError.invalid(where, text, "must be greater than or equal to 0"))
    for (listed, name), value in values.items():
        limit = values.get(("limits", name))
        if listed == "requests" and limit is not None and value > limit:
            detail = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            errors.append(FieldError.invalid(f"{path}.requests", resources["requests"][name], detail))
    return errors


def _check_probe(probe: Object, path: str, *, exact: bool) -> list[FieldError]:
    handlers = [name for name in _HANDLERS if name in probe]
    errors = check_exec(probe, path)
    if not handlers:
        errors.append(FieldError.required(path, "must specify a handler type"))
    errors += [
        FieldError.forbidden(f"{path}.{extra}", "may not specify more than 1 handler type")
        for extra in handlers[1:]
    ]
    for name in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        errors += at_least(f"{path}.{name}", probe.get(name))
    if exact and probe.get("successThreshold") not in (None, 1):
        errors.append(FieldError.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    for name in ("httpGet", "tcpSocket"):
        if name not in probe:
            continue
        port = probe[name].get("port")
        if port is None:
            errors.append(FieldError.required(f"{path}.{name}.port"))
        elif isinstance(port, int):
            errors += port_number(f"{path}.{name}.port", port)
        else:
            errors += port_name(f"{path}.{name}.port", port)
    return errors
