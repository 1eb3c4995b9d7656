"""Which system calls a container may make: RuntimeDefault, as a filter for the kernel.

The list of what is refused is that of the default profile of Docker and containerd, by its
effect: what reaches beyond a container. What a capability allows there is allowed here too.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from cluster.kubelet.runtimes.helpers import linux

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32 = 0x40000000
_REFUSED = {
    # name: (x86_64, aarch64), -1 where there is none; the capability that allows it
    "SYS_ADMIN": {
        "bpf": (321, 280), "fanotify_init": (300, 262), "fsconfig": (431, 431),
        "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
        "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
        "open_tree": (428, 428), "perf_event_open": (298, 241), "pivot_root": (155, 41),
        "quotactl": (179, 60), "quotactl_fd": (443, 443), "setdomainname": (171, 162),
        "sethostname": (170, 161), "setns": (308, 268), "swapoff": (168, 225),
        "swapon": (167, 224), "umount2": (166, 39), "unshare": (272, 97),
        "lookup_dcookie": (212, 18),
    },
    "SYS_MODULE": {
        "delete_module": (176, 106), "init_module": (175, 105), "finit_module": (313, 273),
        "create_module": (174, -1), "query_module": (178, -1), "get_kernel_syms": (177, -1),
    },
    "SYS_BOOT": {"reboot": (169, 142), "kexec_load": (246, 104), "kexec_file_load": (320, 294)},
    "SYS_PTRACE": {"kcmp": (312, 272), "process_madvise": (440, 440)},
    "SYS_RAWIO": {"iopl": (172, -1), "ioperm": (173, -1)},
    "SYS_TIME": {
        "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_settime64": (-1, -1),
    },
    "SYS_PACCT": {"acct": (163, 89)},
    "SYS_NICE": {
        "get_mempolicy": (239, 236), "mbind": (237, 235), "set_mempolicy": (238, 237),
        "move_pages": (279, 239), "migrate_pages": (256, 238),
        "set_mempolicy_home_node": (450, 450),
    },
    "SYSLOG": {"syslog": (103, 116)},
    "SYS_TTY_CONFIG": {"vhangup": (153, 58)},
    "DAC_READ_SEARCH": {"open_by_handle_at": (304, 265)},
    "": {
        "add_key": (248, 217), "keyctl": (250, 219), "request_key": (249, 218),
        "nfsservctl": (180, 42), "sysfs": (139, -1), "uselib": (134, -1), "_sysctl": (156, -1),
        "ustat": (136, -1), "userfaultfd": (323, 282), "vserver": (236, -1),
        "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
    },
}  # fmt: skip
_CLONE, _CLONE3, _PERSONALITY = (56, 220), (435, 435), (135, 92)
_CLONE_NEW = 0x7E020000
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _EPERM, _ENOSYS, _KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
_PR_SET_SECCOMP, _FILTER = 22, 2

Instruction = tuple[int, int, int, int]
"""Operation, jumps if true and if false, operand."""


class Unsupported(Exception):
    """There is no filter for this machine."""


def default_filter(capabilities: Iterable[str], machine: str = "") -> list[Instruction]:
    """RuntimeDefault for a container with these capabilities. Raises Unsupported."""
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURES:
        raise Unsupported(f"no seccomp filter for {machine}")
    architecture, column = _ARCHITECTURES[machine]
    have = set(capabilities)
    found: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        found += [(_JUMP_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ENOSYS)]
    for number in sorted(_refused(have, column)):
        found += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    if "SYS_ADMIN" not in have:
        found += [(_JUMP_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ENOSYS)]
        found += _clone(_CLONE[column])
    found += _personality(_PERSONALITY[column])
    return [*found, (_RETURN, 0, 0, _ALLOW)]


def _refused(have: set[str], column: int) -> set[int]:
    numbers = {
        each[column]
        for capability, calls in _REFUSED.items()
        if capability not in have
        for each in calls.values()
    }
    return numbers - {-1}


def _clone(number: int) -> list[Instruction]:
    """Threads and children yes, new namespaces no."""
    return [
        (_JUMP_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_JUMP_SET, 0, 1, _CLONE_NEW),
        (_RETURN, 0, 0, _EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _personality(number: int) -> list[Instruction]:
    """Only those that weaken nothing. Last, since it loads another word."""
    checks = [
        step
        for value in _PERSONALITIES
        for step in ((_JUMP_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW))
    ]
    inside = [(_LOAD, 0, 0, _FIRST_ARGUMENT_AT), *checks, (_RETURN, 0, 0, _EPERM)]
    return [(_JUMP_EQUAL, 0, len(inside), number), *inside]


def install(program: list[Instruction]) -> None:
    """For this process and all it starts, for good. Needs CAP_SYS_ADMIN or no_new_privs."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(head, len(head))
    linux.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.addressof(holder))
