"""matchConditions of an authorization webhook: which questions it is asked at all.

As upstream: one that is false means no opinion; an error, where none is false, is a failure of the
webhook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.apiserver.authz.attributes import NONE, Attributes, Authorizer, Decision
from cluster.apiserver.authz.webhook import review
from cluster.machinery.cel import CelError, CompileError, Environment, Meter, Program, types

BUDGET = 10_000_000.0
MAX_CONDITIONS = 64
_REQUEST = types.object_type(
    "kubernetes.SubjectAccessReviewSpec",
    {
        "resourceAttributes": types.object_type(
            "kubernetes.ResourceAttributes",
            {
                name: types.STRING
                for name in ("namespace", "verb", "group", "version", "resource", "subresource",
                             "name")
            },
        ),
        "nonResourceAttributes": types.object_type(
            "kubernetes.NonResourceAttributes", {"path": types.STRING, "verb": types.STRING}
        ),
        "user": types.STRING,
        "groups": types.list_of(types.STRING),
        "extra": types.map_of(types.STRING, types.list_of(types.STRING)),
        "uid": types.STRING,
    },
)  # fmt: skip


class MatchConditions:
    """An authorizer before another one."""

    def __init__(
        self, conditions: Sequence[Mapping[str, Any]], behind: Authorizer, failing: Decision
    ) -> None:
        """Raises ValueError for expressions that do not compile."""
        if len(conditions) > MAX_CONDITIONS:
            raise ValueError(f"there may be {MAX_CONDITIONS} matchConditions, not more")
        self._programs = [_compiled(str(each.get("expression") or "")) for each in conditions]
        self._behind, self._failing = behind, failing

    async def decide(self, asked: Attributes) -> Decision:
        request, meter, failed = _shown(asked), Meter(BUDGET), False
        for program in self._programs:
            try:
                if program.evaluate({"request": request}, meter) is not True:
                    return NONE
            except CelError:
                failed = True
        return self._failing if failed else await self._behind.decide(asked)


def _shown(asked: Attributes) -> dict[str, Any]:
    """Texts that are not given are "", as in Go; parts that are not given are not there."""
    spec: dict[str, Any] = review(asked)["spec"]
    spec = {"user": "", "groups": [], "extra": {}, "uid": "", **spec}
    if "resourceAttributes" in spec:
        parts = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
        spec["resourceAttributes"] = {part: getattr(asked, part) for part in parts}
    return spec


def _compiled(source: str) -> Program:
    try:
        program = Environment({"request": _REQUEST}).compile(source)
    except CompileError as error:
        raise ValueError(f"matchConditions: {source!r}: {error}") from error
    if program.result_type.name not in ("bool", "dyn"):
        raise ValueError(f"matchConditions: {source!r} must evaluate to bool")
    return program
