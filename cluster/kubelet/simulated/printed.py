"""What a simulated container has printed by a time, as entries of a CRI log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from actors.seams import Clock
from cluster.kubelet.logs import LogOptions, text_of
from cluster.kubelet.runtimes.base import Container
from cluster.kubelet.simulated.behaviour import Logs
from cluster.machinery import meta

POLL_S = (0.05, 1.0)
LINES_MAX = 100_000
"""Of one container; older ones are not kept, as rotation would have it."""


def count(logs: Logs, container: Container, now_s: float) -> int:
    """How many lines it has printed: the first one as it starts."""
    if not logs.lines:
        return 0
    if logs.every_s <= 0:
        return len(logs.lines)
    until_s = now_s if container.running else container.finished_at_s
    return max(0, int((until_s - container.started_at_s) / logs.every_s) + 1)


def first(logs: Logs, container: Container, now_s: float, tail_lines: int | None) -> int:
    """The number of the line that a reader begins with."""
    wanted = LINES_MAX if tail_lines is None else min(tail_lines, LINES_MAX)
    return max(0, count(logs, container, now_s) - wanted)


def entry(logs: Logs, container: Container, number: int) -> bytes:
    """`{n}` in a line is its number."""
    stamp = meta.format_micro_time(container.started_at_s + number * logs.every_s)
    text = logs.lines[number % len(logs.lines)].replace("{n}", str(number))
    return f"{stamp} stdout F {text}".encode()


async def stream(
    logs: Logs, latest: Callable[[], Container], options: LogOptions, clock: Clock
) -> AsyncIterator[bytes]:
    """What was printed until now and, with `follow`, what is printed until the container ends."""
    left = options.limit_bytes
    number = first(logs, latest(), clock.wall(), options.tail_lines)
    while True:
        container = latest()
        until = count(logs, container, clock.wall())
        chunk = b"".join(text_of(entry(logs, container, n), options) for n in range(number, until))
        number = max(number, until)
        if left is not None:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if left == 0 or not (options.follow and container.running):
            return
        await clock.sleep(min(max(logs.every_s, POLL_S[0]), POLL_S[1]))
