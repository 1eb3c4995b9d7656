"""A pod as the checks look at it, and the words that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]
    version: tuple[int, int]

    @property
    def security(self) -> Mapping[str, Any]:
        return self.spec.get("securityContext") or {}

    @property
    def windows(self) -> bool:
        """Rules that make no sense there are not asked, since 1.25."""
        return self.version >= (1, 25) and (self.spec.get("os") or {}).get("name") == "windows"

    def containers(self) -> Iterator[Object]:
        for part in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(part) or ()

    def those(self, wrong: Callable[[Mapping[str, Any]], bool]) -> list[str]:
        """The names of the containers whose securityContext is wrong."""
        return [c["name"] for c in self.containers() if wrong(c.get("securityContext") or {})]


def quoted(names: Iterable[object]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def plural(word: str, names: list[str]) -> str:
    """`container "a"`, `containers "a", "b"`."""
    return f"{word}{'s' if len(names) > 1 else ''} {quoted(names)}"


def sentences(pod_too: bool, names: list[str], rest: str) -> str:
    """`pod and container "a" REST`; "" if nobody is meant."""
    who = ["pod"] if pod_too else []
    if names:
        who.append(plural("container", names))
    return f"{' and '.join(who)} {rest}" if who else ""
