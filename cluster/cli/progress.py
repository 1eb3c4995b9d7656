"""Progress for a person: a spinner with times on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator


class Progress:
    """Steps go to standard error, so that standard output stays usable in scripts."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._started = time.monotonic()
        self._spins = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._detail = ""

    def detail(self, text: str) -> None:
        """What the running step waits for."""
        self._detail = text

    def say(self, text: str) -> None:
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step: its title while it runs, then its time, or a cross if it raised."""
        begun, self._detail = time.monotonic(), ""
        done = threading.Event()
        spinner = threading.Thread(target=self._spin, args=(title, begun, done), daemon=True)
        if self._spins and not self._quiet:
            spinner.start()
        mark = "x"
        try:
            yield
            mark = "*"
        finally:
            done.set()
            if spinner.is_alive():
                spinner.join()
            self.say(f"{self._clear()} {mark} {title}  {time.monotonic() - begun:.1f} s")

    def _spin(self, title: str, begun: float, done: threading.Event) -> None:
        for frame in itertools.cycle("|/-\\"):
            if done.wait(0.1):
                return
            elapsed_s = time.monotonic() - begun
            line = f" {frame} {title}  {elapsed_s:.1f} s  {self._detail}"
            print(self._clear() + line[:100], end="", file=sys.stderr, flush=True)

    def _clear(self) -> str:
        return "\r\033[K" if self._spins else ""

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started
