"""Containers of pods."""

from __future__ import annotations

from cluster.machinery.validation import env, formats, probes, resource_lists, volumes
from cluster.machinery.validation.field import Errors, Object

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")


def validate_all(spec: Object, names: set[str], path: str, errors: Errors) -> None:
    """Init containers and containers; `names` are those of the pod's volumes."""
    containers, inits = spec.get("containers") or [], spec.get("initContainers") or []
    seen: set[str] = set()
    for at, container in enumerate(containers):
        _container(container, f"{path}.containers[{at}]", names, seen, errors)
        _restart_policy(container, f"{path}.containers[{at}]", errors)
    if not containers:
        errors.required(f"{path}.containers")
    for at, container in enumerate(inits):
        own = f"{path}.initContainers[{at}]"
        _container(container, own, names, seen, errors)
        _init(container, own, errors)
    _host_ports(containers, f"{path}.containers", errors)
    for at, container in enumerate(spec.get("ephemeralContainers") or ()):
        _ephemeral(container, f"{path}.ephemeralContainers[{at}]", seen, errors)


def _restart_policy(container: Object, path: str, errors: Errors) -> None:
    if container.get("restartPolicy") and not container.get("restartPolicyRules"):
        errors.forbidden(f"{path}.restartPolicy", "may not be set for non-init containers")


def _init(container: Object, path: str, errors: Errors) -> None:
    policy = container.get("restartPolicy")
    if policy == "Always":
        return
    if policy and not container.get("restartPolicyRules"):
        errors.not_supported(f"{path}.restartPolicy", policy, ("Always",))
    for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            errors.forbidden(
                f"{path}.{name}", "may not be set for init containers without restartPolicy=Always"
            )


def _ephemeral(container: Object, path: str, seen: set[str], errors: Errors) -> None:
    _name(container, path, seen, errors)
    _image(container, path, errors)
    for name in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
        if container.get(name):
            errors.forbidden(f"{path}.{name}", "cannot be set for an Ephemeral Container")
    if (container.get("resources") or {}).get("limits"):
        errors.forbidden(f"{path}.resources", "cannot be set for an Ephemeral Container")


def _name(container: Object, path: str, seen: set[str], errors: Errors) -> None:
    name = container.get("name")
    if not name:
        errors.required(f"{path}.name")
        return
    errors.all_invalid(f"{path}.name", name, formats.label(name))
    if name in seen:
        errors.duplicate(f"{path}.name", name)
    seen.add(name)


def _image(container: Object, path: str, errors: Errors) -> None:
    image = container.get("image")
    if not image:
        errors.required(f"{path}.image")
    elif image.strip() != image:
        errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    errors.one_of(f"{path}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES)


def _container(
    container: Object, path: str, names: set[str], seen: set[str], errors: Errors
) -> None:
    _name(container, path, seen, errors)
    _image(container, path, errors)
    if not container.get("terminationMessagePath"):
        errors.required(f"{path}.terminationMessagePath")
    policy = container.get("terminationMessagePolicy")
    errors.one_of(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    if container.get("ports"):
        _ports(container["ports"], f"{path}.ports", errors)
    if container.get("env"):
        env.validate(container["env"], f"{path}.env", errors)
    if container.get("envFrom"):
        env.validate_from(container["envFrom"], f"{path}.envFrom", errors)
    if container.get("volumeMounts"):
        volumes.validate_mounts(container["volumeMounts"], names, f"{path}.volumeMounts", errors)
    if container.get("resources"):
        resource_lists.container(container["resources"], f"{path}.resources", errors)
    probes.validate_all(container, path, errors)
    _security(container.get("securityContext"), f"{path}.securityContext", errors)


def _security(context: Object | None, path: str, errors: Errors) -> None:
    if not context:
        return
    for name in ("runAsUser", "runAsGroup"):
        errors.not_negative(f"{path}.{name}", context.get(name))
    if context.get("allowPrivilegeEscalation") is False and context.get("privileged"):
        errors.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and "
                       "`privileged` to true")  # fmt: skip


def _ports(ports: list[Object], path: str, errors: Errors) -> None:
    names: set[str] = set()
    for at, port in enumerate(ports):
        own = f"{path}[{at}]"
        name = port.get("name")
        if name:
            wrong = formats.port_name(name)
            errors.all_invalid(f"{own}.name", name, wrong)
            if not wrong and name in names:
                errors.duplicate(f"{own}.name", name)
            names.add(name)
        number = port.get("containerPort")
        if not number:
            errors.required(f"{own}.containerPort")
        else:
            errors.all_invalid(f"{own}.containerPort", number, formats.port_number(number))
        if port.get("hostPort"):
            errors.all_invalid(
                f"{own}.hostPort", port["hostPort"], formats.port_number(port["hostPort"])
            )
        errors.one_of(f"{own}.protocol", port.get("protocol"), PROTOCOLS)


def _host_ports(containers: list[Object], path: str, errors: Errors) -> None:
    """No two containers of a pod take the same port of the host."""
    taken: set[str] = set()
    for at, container in enumerate(containers):
        for index, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            place = f"{port.get('protocol')}/{port.get('hostIP') or ''}/{port['hostPort']}"
            if place in taken:
                errors.duplicate(f"{path}[{at}].ports[{index}].hostPort", place)
            taken.add(place)
