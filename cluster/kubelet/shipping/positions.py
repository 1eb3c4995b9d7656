"""How far each log file was sent: by its inode, since rotation gives it other names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from cluster.kubelet.runtimes.helpers.shim import write_json


@dataclass
class Positions:
    """`sent`: bytes by inode; kept in a file once a batch was taken."""

    path: str
    sent: dict[int, int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str) -> Positions:
        try:
            with open(path) as file:
                return cls(path, {int(inode): int(at) for inode, at in json.load(file).items()})
        except (FileNotFoundError, ValueError):
            return cls(path)

    def keep(self, sent: dict[int, int], here: Iterable[int]) -> None:
        """What was sent now, too; files that are gone are forgotten."""
        inodes = set(here)
        self.sent = {i: at for i, at in {**self.sent, **sent}.items() if i in inodes}
        write_json(self.path, {str(inode): at for inode, at in self.sent.items()})


def files(folder: str) -> list[str]:
    """All logs of pods, rotated ones too, the older of a container first."""
    found = []
    for base, _, names in os.walk(folder):
        found += [os.path.join(base, name) for name in names if ".log" in name]
    return sorted(found, key=_age)


def _age(path: str) -> tuple[str, int, int]:
    """`0.log.2` is older than `0.log.1`, which is older than `0.log`; `1.log` is newer."""
    folder, name = os.path.split(path)
    attempt, _, generation = name.partition(".log")
    number = generation.lstrip(".")
    return (
        folder,
        int(attempt) if attempt.isdigit() else 0,
        -int(number) if number.isdigit() else 0,
    )
