"""Computations whose length users decide on: they must not hold up everybody else."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from cluster.machinery.cel.brief import Lengthy, brief

T = TypeVar("T")

_aside = ThreadPoolExecutor(1, "lengthy")
"""One at a time: they share the interpreter with the loop."""


async def run(work: Callable[[], T]) -> T:
    """What `work` returns: in this turn of the loop if it is brief, else in a thread.

    `work` evaluates CEL. It may run twice, so it changes nothing but what it makes itself.
    """
    try:
        with brief():
            return work()
    except Lengthy:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(_aside, context.run, work)
