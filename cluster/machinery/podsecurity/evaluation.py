"""Which checks a level and a version ask for, and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.machinery.podsecurity import baseline, restricted
from cluster.machinery.podsecurity.pod import Pod
from cluster.machinery.podsecurity.policy import Level

Object = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """`since`: the minor version; `replaced`: that in which a stricter check stands for it."""

    reason: str
    run: Callable[[Pod], str]
    since: int = 0
    replaced: int | None = None


BASELINE = (
    Check("forbidden AppArmor profile", baseline.app_armor),
    Check("non-default capabilities", baseline.capabilities, replaced=22),
    Check("host namespaces", baseline.host_namespaces),
    Check("hostPath volumes", baseline.host_paths, replaced=0),
    Check("hostPort", baseline.host_ports),
    Check("probe or lifecycle host", baseline.probe_hosts, since=34),
    Check("privileged", baseline.privileged),
    Check("procMount", baseline.proc_mount),
    Check("seLinuxOptions", baseline.selinux),
    Check("seccompProfile", baseline.seccomp, since=19, replaced=19),
    Check("forbidden sysctls", baseline.sysctls),
    Check("hostProcess", baseline.host_process),
)
RESTRICTED = (
    Check("allowPrivilegeEscalation != false", restricted.privilege_escalation, since=8),
    Check("unrestricted capabilities", restricted.capabilities, since=22),
    Check("restricted volume types", restricted.volumes),
    Check("runAsNonRoot != true", restricted.run_as_non_root),
    Check("runAsUser=0", restricted.run_as_user, since=23),
    Check("seccompProfile", restricted.seccomp, since=19),
)


def violations(metadata: Object, spec: Object, level: Level) -> str:
    """`reason (detail), ...` of everything that the level forbids; "" if nothing is."""
    if level.name == "privileged":
        return ""
    pod = Pod(metadata, spec, level.version)
    found = []
    for check in _checks(level):
        detail = check.run(pod)
        if detail:
            found.append(f"{check.reason} ({detail})")
    return ", ".join(found)


def _checks(level: Level) -> list[Check]:
    asked = [check for check in BASELINE if level.version >= (1, check.since)]
    if level.name == "baseline":
        return asked
    kept = [c for c in asked if c.replaced is None or level.version < (1, c.replaced)]
    return [*kept, *(check for check in RESTRICTED if level.version >= (1, check.since))]
