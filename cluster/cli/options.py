"""Options and parameter types that several commands share."""

from __future__ import annotations

import re
from typing import Any

import click

NAME = click.option(
    "--name",
    default="default",
    show_default=True,
    envvar="RAYKUBE_NAME",
    help="The cluster's name; its kubeconfig context is raykube-NAME.",
)


class Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`60`, `60s`, `2m`, `1m30s`: seconds."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", value)
        if not value or not match:
            self.fail(f"{value!r} is no duration (60s, 2m)", param, ctx)
        return 60.0 * int(match[1] or 0) + float(match[2] or 0)
