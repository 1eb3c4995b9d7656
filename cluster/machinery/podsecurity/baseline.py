"""The checks of the baseline level, in upstream's order: each gives its detail or ""."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cluster.machinery.podsecurity.pod import Pod, plural, quoted, sentences

APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
        "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
SELINUX = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})
SYSCTLS: Mapping[str, int] = {
    "kernel.shm_rmid_forced": 0,
    "net.ipv4.ip_local_port_range": 0,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0,
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}
"""Safe sysctls, and the minor version since which they are allowed."""


def app_armor(pod: Pod) -> str:
    found = []
    if (pod.security.get("appArmorProfile") or {}).get("type") == "Unconfined":
        found.append('pod must not set AppArmor profile type to "Unconfined"')
    names = pod.those(lambda s: (s.get("appArmorProfile") or {}).get("type") == "Unconfined")
    if names:
        text = 'must not set AppArmor profile type to "Unconfined"'
        found.append(f"{plural('container', names)} {text}")
    annotations = pod.metadata.get("annotations") or {}
    wrong = sorted(
        f'{key}="{value}"'
        for key, value in annotations.items()
        if key.startswith(APPARMOR)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if wrong:
        text = f"annotation{'s' if len(wrong) > 1 else ''} {', '.join(wrong)}"
        found.append(text)
    return "; ".join(found)


def capabilities(pod: Pod) -> str:
    names, added = added_capabilities(pod, CAPABILITIES)
    if not names:
        return ""
    text = f"must not include {quoted(sorted(added))} in securityContext.capabilities.add"
    return f"{plural('container', names)} {text}"


def added_capabilities(pod: Pod, allowed: frozenset[str]) -> tuple[list[str], set[str]]:
    """(the containers that add others than these, what they add)."""
    names, added = [], set()
    for container in pod.containers():
        given = (container.get("securityContext") or {}).get("capabilities") or {}
        wrong = {each for each in given.get("add") or () if each not in allowed}
        if wrong:
            names.append(container["name"])
            added |= wrong
    return names, added


def host_namespaces(pod: Pod) -> str:
    fields = ("hostNetwork", "hostPID", "hostIPC")
    return ", ".join(f"{field}=true" for field in fields if pod.spec.get(field))


def host_paths(pod: Pod) -> str:
    volumes = pod.spec.get("volumes") or ()
    names = [v["name"] for v in volumes if v.get("hostPath") is not None]
    return plural("volume", names) if names else ""


def host_ports(pod: Pod) -> str:
    names, ports = [], set()
    for container in pod.containers():
        used = {p["hostPort"] for p in container.get("ports") or () if p.get("hostPort")}
        if used:
            names.append(container["name"])
            ports |= used
    if not names:
        return ""
    verb = "use" if len(names) > 1 else "uses"
    shown = ", ".join(str(port) for port in sorted(ports))
    return f"{plural('container', names)} {verb} hostPort{'s' if len(ports) > 1 else ''} {shown}"


def probe_hosts(pod: Pod) -> str:
    names, hosts = [], set()
    for container in pod.containers():
        found = set(_hosts(container))
        if found:
            names.append(container["name"])
            hosts |= found
    if not names:
        return ""
    verb = "use" if len(names) > 1 else "uses"
    return (
        f"{plural('container', names)} {verb} probe or lifecycle "
        f"host{'s' if len(hosts) > 1 else ''} {quoted(sorted(hosts))}"
    )


def _hosts(container: Mapping[str, Any]) -> Iterator[str]:
    lifecycle = container.get("lifecycle") or {}
    handlers = [container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")]
    handlers += [lifecycle.get(when) for when in ("postStart", "preStop")]
    for handler in handlers:
        for action in ("httpGet", "tcpSocket"):
            host = ((handler or {}).get(action) or {}).get("host")
            if host:
                yield str(host)


def privileged(pod: Pod) -> str:
    names = pod.those(lambda s: s.get("privileged") is True)
    return sentences(False, names, "must not set securityContext.privileged=true")


def proc_mount(pod: Pod) -> str:
    found = []
    names = pod.those(lambda s: s.get("procMount", "Default") != "Default")
    for container in pod.containers():
        mount = (container.get("securityContext") or {}).get("procMount", "Default")
        if mount != "Default" and mount not in found:
            found.append(mount)
    return sentences(False, names, f"must not set securityContext.procMount to {quoted(found)}")


def selinux(pod: Pod) -> str:
    allowed = SELINUX | ({"container_engine_t"} if pod.version >= (1, 31) else set())
    types: list[str] = []
    extra: set[str] = set()

    def wrong(security: Mapping[str, Any]) -> bool:
        options = security.get("seLinuxOptions") or {}
        type_ = options.get("type") or ""
        bad = False
        if type_ not in allowed:
            types.append(type_)
            bad = True
        for field in ("user", "role"):
            if options.get(field):
                extra.add(field)
                bad = True
        return bad

    pod_too = wrong(pod.security)
    names = pod.those(wrong)
    told = []
    if types:
        unique = sorted(set(types))
        told.append(f"type{'s' if len(unique) > 1 else ''} {quoted(unique)}")
    told += [f"{field} may not be set" for field in ("user", "role") if field in extra]
    text = f"set forbidden securityContext.seLinuxOptions: {'; '.join(told)}"
    return sentences(pod_too, names, text)


def seccomp(pod: Pod) -> str:
    pod_too, names = unconfined(pod)
    return sentences(
        pod_too, names, 'must not set securityContext.seccompProfile.type to "Unconfined"'
    )


def unconfined(pod: Pod) -> tuple[bool, list[str]]:
    def wrong(security: Mapping[str, Any]) -> bool:
        return bool((security.get("seccompProfile") or {}).get("type") == "Unconfined")

    return wrong(pod.security), pod.those(wrong)


def sysctls(pod: Pod) -> str:
    given = [each["name"] for each in pod.security.get("sysctls") or ()]
    wrong = [name for name in given if pod.version < (1, SYSCTLS.get(name, 1 << 31))]
    return ", ".join(wrong)


def host_process(pod: Pod) -> str:
    def wrong(security: Mapping[str, Any]) -> bool:
        return bool((security.get("windowsOptions") or {}).get("hostProcess"))

    return sentences(
        wrong(pod.security),
        pod.those(wrong),
        "must not set securityContext.windowsOptions.hostProcess=true",
    )
