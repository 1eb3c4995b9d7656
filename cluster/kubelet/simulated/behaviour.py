"""What simulated pods do, as data: how long things take, what fails, what is printed. Pure.

A behaviour is a mapping such as `{ready: 1s-3s, exit: {after: 30s, code: 1, share: 0.5}}`. It is
given in the annotation `raykube.dev/simulate` of a pod or of a node, and in rules for many pods;
whichever is nearest to the pod wins, key by key.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.machinery import meta

Object = dict[str, Any]


@dataclass(frozen=True)
class Span:
    """A time drawn evenly from `low_s` to `high_s`."""

    low_s: float = 0.0
    high_s: float = 0.0

    def at(self, share: float) -> float:
        return self.low_s + (self.high_s - self.low_s) * share


@dataclass(frozen=True)
class Exit:
    """A container ends by itself; `share` of its attempts do, or the first `attempts`."""

    after: Span
    code: int = 0
    share: float = 1.0
    attempts: int | None = None


@dataclass(frozen=True)
class StartError:
    """A container that cannot be created."""

    reason: str
    message: str = ""
    share: float = 1.0
    attempts: int | None = None


@dataclass(frozen=True)
class Eviction:
    """The node evicts the pod, as for lack of memory."""

    after: Span
    message: str = "The node was low on resource: memory."
    share: float = 1.0


@dataclass(frozen=True)
class Logs:
    """`lines` one after the other, then again from the first; all at once if `every_s` is 0."""

    lines: tuple[str, ...] = ()
    every_s: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What a command prints, and how it ends. `command` is a pattern of shell's kind."""

    command: str
    output: str = ""
    code: int = 0


@dataclass(frozen=True)
class Behaviour:
    """`start`: until a container is created; `ready`: from there until it is ready; `stop`: from
    SIGTERM until its end."""

    start: Span = Span()
    ready: Span = Span()
    stop: Span = Span()
    exit: Exit | None = None
    fail_start: StartError | None = None
    evict: Eviction | None = None
    logs: Logs = Logs()
    exec: tuple[Answer, ...] = ()
    seed: str = ""

    def draw(self, *what: object) -> float:
        """A number from 0 to 1 that is the same for the same seed and arguments."""
        return draw(self.seed, *what)


def draw(seed: str, *what: object) -> float:
    """From 0 to 1 (which it never is)."""
    text = "\0".join([seed, *map(str, what)])
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)


@dataclass(frozen=True)
class NodeBehaviour:
    """`boot`: until a new node is Ready; `powered` off, it is silent; `conditions`: what its
    conditions are instead of healthy (type and status)."""

    boot: Span = Span()
    powered: bool = True
    conditions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Rule:
    """The behaviour of the pods that match; patterns are of shell's kind."""

    values: Mapping[str, Any]
    namespace: str = "*"
    node: str = "*"
    owner: str = "*"
    labels: tuple[tuple[str, str], ...] = ()

    def matches(self, pod: Object) -> bool:
        labels = pod["metadata"].get("labels") or {}
        owner = (meta.controller_of(pod) or {}).get("kind", "")
        return (
            all(labels.get(key) == value for key, value in self.labels)
            and fnmatch.fnmatchcase(owner, self.owner)
            and fnmatch.fnmatchcase(meta.namespace(pod), self.namespace)
            and fnmatch.fnmatchcase(pod["spec"].get("nodeName", ""), self.node)
        )
