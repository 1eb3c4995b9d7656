"""Who a container's processes are, and what they may do."""

from __future__ import annotations

from typing import Any

from suite.printed import ROOT, Check, Group

Object = dict[str, Any]


def _secure(**context: Any) -> Object:
    return {"securityContext": context}


CONTAINERS = Group(
    "identity",
    (
        Check(
            "[sig-node] Security Context When creating a container with runAsUser should run the"
            " container with uid 65534",
            "id -u", "65534", _secure(runAsUser=65534), ("root",),
        ),
        Check(
            "[sig-node] Security Context should support container.SecurityContext.RunAsUser And"
            " container.SecurityContext.RunAsGroup",
            "id -u; id -g", "1001\n2002", _secure(runAsUser=1001, runAsGroup=2002), ("root",),
        ),
        Check(
            "[sig-node] Security Context When creating a pod with privileged should run the"
            " container as unprivileged when false",
            "ip link add dummy-rk type dummy 2>&1 | grep -ciE 'not permitted|denied'", "1",
            _secure(privileged=False),
        ),
        Check(
            "[sig-node] Security Context When creating a pod with readOnlyRootFilesystem should"
            " run the container with writable rootfs when readOnlyRootFilesystem=false",
            "echo x > /own-file && cat /own-file", "x", _secure(readOnlyRootFilesystem=False),
            ("own-root",),
        ),
        Check(
            "[sig-node] Kubelet when scheduling a read only busybox container should not write to"
            " root filesystem",
            "(echo x > /own-file) 2>/dev/null && echo written || echo refused", "refused",
            _secure(readOnlyRootFilesystem=True), ("own-root",),
        ),
        Check(
            "[sig-node] Security Context when creating containers with AllowPrivilegeEscalation"
            " should not allow privilege escalation when false",
            "grep NoNewPrivs /proc/self/status | tr -d '[:space:]'", "NoNewPrivs:1",
            _secure(allowPrivilegeEscalation=False),
        ),
    ),
)  # fmt: skip

POD = Group(
    "pod-identity",
    (
        Check(
            "[sig-node] Security Context should support pod.Spec.SecurityContext.RunAsUser And"
            " pod.Spec.SecurityContext.RunAsGroup",
            "id -u; id -g", "1001\n2002", needs=("root",),
        ),
    ),
    _secure(runAsUser=1001, runAsGroup=2002),
)  # fmt: skip

SYSCTLS = Group(
    "sysctls",
    (
        Check(
            "[sig-node] Sysctls [LinuxOnly] should support sysctls",
            "cat /proc/sys/kernel/shm_rmid_forced", "1", needs=("root",),
        ),
    ),
    _secure(sysctls=[{"name": "kernel.shm_rmid_forced", "value": "1"}]),
)  # fmt: skip

HOSTS = Group(
    "host-names",
    (
        Check(
            "[sig-node] Kubelet when scheduling an agnhost Pod with hostAliases should write"
            " entries to /etc/hosts",
            f"grep 123.45.67.89 {ROOT}/etc/hosts | tr '\\t' ' '", "123.45.67.89 foo bar",
        ),
        Check(
            "[sig-network] DNS should provide /etc/hosts entries for the cluster",
            f"grep -c host-names {ROOT}/etc/hosts; grep -c Kubernetes-managed {ROOT}/etc/hosts",
            "1\n1",
        ),
        Check(
            "[sig-network] DNS should support configurable pod DNS nameservers",
            f"cat {ROOT}/etc/resolv.conf",
            "search resolv.conf.local\nnameserver 127.0.0.9\noptions ndots:3",
        ),
    ),
    {"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}],
     "dnsPolicy": "None",
     "dnsConfig": {"nameservers": ["127.0.0.9"], "searches": ["resolv.conf.local"],
                   "options": [{"name": "ndots", "value": "3"}]}},
)  # fmt: skip

GROUPS = (CONTAINERS, POD, SYSCTLS, HOSTS)
