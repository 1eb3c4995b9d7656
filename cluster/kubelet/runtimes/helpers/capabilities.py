"""What a container's root may do: capabilities, by dropping all others for good."""

from __future__ import annotations

import os
from collections.abc import Iterable

from cluster.kubelet.runtimes.helpers import linux

_ALL = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
PERFMON BPF CHECKPOINT_RESTORE
"""
_USUAL = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
SYS_CHROOT KILL AUDIT_WRITE
"""
NAMES = tuple(_ALL.split())
"""By number, as in linux/capability.h."""
DEFAULT = frozenset(_USUAL.split())
"""Those of containerd and Docker."""


def kept(add: Iterable[str], drop: Iterable[str], *, privileged: bool) -> frozenset[str]:
    """The names a container has in the end; ALL stands for every one, with or without CAP_."""
    if privileged:
        return frozenset(NAMES)
    plus, minus = _names(add), _names(drop)
    base = frozenset() if "ALL" in minus else DEFAULT
    if "ALL" in plus:
        base = frozenset(NAMES)
    return (base - minus) | (plus - {"ALL"})


def _names(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(text.upper().removeprefix("CAP_") for text in texts)


def limit_to(names: Iterable[str]) -> None:
    """Of this process and all it starts: the bounding set. An exec by root then has only these."""
    keep = set(names)
    for number in range(_last() + 1):
        name = NAMES[number] if number < len(NAMES) else ""
        if name not in keep:
            linux.prctl(linux.PR_CAPBSET_DROP, number)


def _last() -> int:
    """The highest one that this kernel knows."""
    try:
        with open("/proc/sys/kernel/cap_last_cap") as file:
            return int(file.read())
    except OSError:
        return len(NAMES) - 1


def may_limit() -> bool:
    return os.geteuid() == 0
