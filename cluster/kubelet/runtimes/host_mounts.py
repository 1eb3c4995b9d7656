"""Which of the host's mounts below `/` a container must see beside the root file system."""

from __future__ import annotations

from collections.abc import Iterator

_PSEUDO = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "sysfs",
        "tmpfs",
        "tracefs",
    ]
)
_MOUNTS_MAX = 64


def _unescape(text: str) -> str:
    return text.encode().decode("unicode_escape").encode("latin-1").decode()


def mounts() -> Iterator[tuple[str, str]]:
    """(mount point, file system type) of this mount namespace, in mount order."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            yield _unescape(before.split()[4]), after.split()[0]


def extra_mounts(data_dir: str) -> list[str]:
    """Real file systems mounted below `/` (a separate /home, say): an overlay over `/` lacks them.

    They are bound read-only. tmpfs and the kernel's own are left out, and so is `data_dir`.
    """
    found = []
    for point, kind in mounts():
        inside = point == data_dir or point.startswith(data_dir + "/")
        if point != "/" and kind not in _PSEUDO and not inside:
            found.append(point)
    return sorted(set(found))[:_MOUNTS_MAX]
