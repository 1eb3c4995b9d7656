"""From text to behaviours, with errors that name the key. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from cluster.kubelet.simulated.behaviour import (
    Answer,
    Behaviour,
    Eviction,
    Exit,
    Logs,
    NodeBehaviour,
    Rule,
    Span,
    StartError,
)

Object = dict[str, Any]

ANNOTATION = "raykube.dev/simulate"

_SPAN = re.compile(r"(?P<low>[^-]+)(?:-(?P<high>[^-]+))?")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_KEYS = frozenset({"start", "ready", "stop", "exit", "failStart", "evict", "logs", "exec", "seed"})
_NODE_KEYS = frozenset({"boot", "power", "conditions"})
_MATCH_KEYS = frozenset({"namespace", "labels", "owner", "node"})


class BehaviourError(ValueError):
    """Something that says no behaviour; the message names the key."""


JOBS = Rule({"exit": {"after": "1s"}}, owner="Job")
"""Holds unless something else is said: a Job's pods end well after a second."""


def of_pod(pod: Object, node_values: Mapping[str, Any], rules: Sequence[Rule]) -> Behaviour:
    """The pod's annotation, over its node's, over the first rule that matches. Raises
    BehaviourError."""
    rule = next((rule for rule in (*rules, JOBS) if rule.matches(pod)), None)
    text = (pod["metadata"].get("annotations") or {}).get(ANNOTATION)
    own = _mapping(text, _KEYS) if text else {}
    return _frozen({**(rule.values if rule else {}), **node_values, **own})


def of_node(node: Object) -> tuple[NodeBehaviour, Mapping[str, Any]]:
    """What the node does, and what its annotation says of its pods. Raises BehaviourError."""
    text = (node["metadata"].get("annotations") or {}).get(ANNOTATION)
    return _of_node_text(text) if text else (NodeBehaviour(), {})


@lru_cache(maxsize=1024)
def _of_node_text(text: str) -> tuple[NodeBehaviour, Mapping[str, Any]]:
    """Thousands of nodes have the same."""
    values = _mapping(text, _KEYS | _NODE_KEYS)
    conditions = _typed(values.get("conditions", {}), dict, "conditions")
    power = values.get("power", True)
    if not isinstance(power, bool):
        raise BehaviourError(f"power: on or off, not {power!r}")
    own = NodeBehaviour(
        span(values.get("boot", 0), "boot"),
        power,
        tuple((str(type_), _status(status)) for type_, status in conditions.items()),
    )
    pods = {key: value for key, value in values.items() if key in _KEYS}
    parse(pods)
    return own, pods


def _status(value: object) -> str:
    return {True: "True", False: "False"}.get(value, str(value))  # type: ignore[call-overload,no-any-return]


def rules(text: str) -> tuple[Rule, ...]:
    """A YAML list of behaviours, each with what it is to `match`. Raises BehaviourError."""
    found = _typed(_yaml(text) or [], list, "the rules")
    return tuple(_rule(_typed(entry, dict, f"rule {n}"), n) for n, entry in enumerate(found, 1))


def _rule(entry: Object, number: int) -> Rule:
    values = {key: value for key, value in entry.items() if key != "match"}
    match = _typed(entry.get("match") or {}, dict, f"rule {number}: match")
    try:
        parse(values)
        _known(match, _MATCH_KEYS)
    except BehaviourError as error:
        raise BehaviourError(f"rule {number}: {error}") from None
    labels = _typed(match.get("labels") or {}, dict, f"rule {number}: labels")
    patterns = {key: str(value) for key, value in match.items() if key != "labels"}
    pairs = tuple((str(key), str(value)) for key, value in labels.items())
    return Rule(values, labels=pairs, **patterns)


def parse(values: Mapping[str, Any]) -> Behaviour:
    """Raises BehaviourError for keys and values that say nothing here."""
    _known(values, _KEYS)
    spans = {key: span(values.get(key, 0), key) for key in ("start", "ready", "stop")}
    return Behaviour(
        **spans,
        exit=_exit(_part(values, "exit", {"after", "code", "share", "attempts"})),
        fail_start=_start_error(
            _part(values, "failStart", {"reason", "message", "share", "attempts"})
        ),
        evict=_eviction(_part(values, "evict", {"after", "message", "share"})),
        logs=_logs(_part(values, "logs", {"lines", "every"}) or {}),
        exec=tuple(map(_answer, _typed(values.get("exec", []), list, "exec"))),
        seed=str(values.get("seed", "")),
    )


@lru_cache(maxsize=1024)
def _of_text(text: str) -> Behaviour:
    return parse(json.loads(text))


def _frozen(values: Mapping[str, Any]) -> Behaviour:
    """Pods of one template share one behaviour, parsed once."""
    return _of_text(json.dumps(values, default=str)) if values else Behaviour()


def span(value: Any, key: str) -> Span:
    """`1s`, `500ms`, `1m30s`, `1s-3s` or a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Span(float(value), float(value))
    match = _SPAN.fullmatch(str(value).replace(" ", ""))
    if not match:
        raise BehaviourError(f"{key}: {value!r} is no time (1s, 500ms, 1s-3s)")
    low_s = _seconds(match["low"], key)
    high_s = low_s if match["high"] is None else _seconds(match["high"], key)
    if high_s < low_s:
        raise BehaviourError(f"{key}: {value!r} ends before it begins")
    return Span(low_s, high_s)


def _seconds(text: str, key: str) -> float:
    match = _DURATION.fullmatch(text)
    if not match or not text:
        raise BehaviourError(f"{key}: {text!r} is no time (1s, 500ms, 1m30s)")
    hours, minutes, seconds, millis = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + millis / 1000


def _exit(part: Object | None) -> Exit | None:
    if part is None:
        return None
    return Exit(
        span(part.get("after", 0), "exit.after"),
        _whole(part.get("code", 0), "exit.code"),
        _share(part, "exit.share"),
        _attempts(part, "exit.attempts"),
    )


def _start_error(part: Object | None) -> StartError | None:
    if part is None:
        return None
    reason = str(part.get("reason", "ErrImagePull"))
    message = str(part.get("message", ""))
    share, attempts = _share(part, "failStart.share"), _attempts(part, "failStart.attempts")
    return StartError(reason, message, share, attempts)


def _eviction(part: Object | None) -> Eviction | None:
    if part is None:
        return None
    message = str(part.get("message", Eviction.message))
    return Eviction(span(part.get("after", 0), "evict.after"), message, _share(part, "evict.share"))


def _logs(part: Object) -> Logs:
    lines = _typed(part.get("lines", []), list, "logs.lines")
    return Logs(tuple(map(str, lines)), span(part.get("every", 0), "logs.every").low_s)


def _answer(entry: Any) -> Answer:
    part = _typed(entry, dict, "exec: an entry")
    _known(part, {"command", "output", "code"})
    code = _whole(part.get("code", 0), "exec.code")
    return Answer(str(part.get("command", "*")), str(part.get("output", "")), code)


def _part(values: Mapping[str, Any], key: str, known: set[str]) -> Object | None:
    if values.get(key) is None:
        return None
    part: Object = _typed(values[key], dict, key)
    try:
        _known(part, known)
    except BehaviourError as error:
        raise BehaviourError(f"{key}: {error}") from None
    return part


def _share(part: Object, key: str) -> float:
    value = part.get("share", 1.0)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BehaviourError(f"{key}: a number from 0 to 1, not {value!r}")
    return float(value)


def _attempts(part: Object, key: str) -> int | None:
    return None if part.get("attempts") is None else _whole(part["attempts"], key)


def _whole(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 31:
        raise BehaviourError(f"{key}: a whole number, not {value!r}")
    return value


def _known(values: Mapping[str, Any], keys: frozenset[str] | set[str]) -> None:
    if unknown := sorted(map(str, values.keys() - keys)):
        known = ", ".join(sorted(keys))
        raise BehaviourError(f"unknown key {unknown[0]!r}; there are: {known}")


def _mapping(text: str, keys: frozenset[str]) -> Object:
    found: Object = _typed(_yaml(text), dict, ANNOTATION)
    _known(found, keys)
    return found


def _yaml(text: str) -> Any:
    try:
        return yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise BehaviourError(f"no YAML: {' '.join(str(error).split())}") from None


def _typed(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        word = "a mapping" if kind is dict else "a list"
        raise BehaviourError(f"{what}: {word}, not {value!r}")
    return value
