"""The helper programs of the process runtime as processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys

_IMPORT_ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from cluster.kubelet.runtimes.helpers.{0} import main; main({1})"
)
_LAUNCHER = _BOOT.format("launcher", "")
_ENTER = _BOOT.format("enter", "sys.argv[1], sys.argv[2:]")
_SESSION = _BOOT.format("session", "")


async def launcher(control: int, folder: str) -> asyncio.subprocess.Process:
    """See the helper `launcher`. A node's folder is among its words, and so of all its shims."""
    return await _with_control(_LAUNCHER, control, folder)


async def entering(folder: str, *command: str) -> asyncio.subprocess.Process:
    """See the helper `enter`."""
    return await _python(_ENTER, folder, *command)


async def session(control: int) -> asyncio.subprocess.Process:
    """See the helper `session`. It writes nothing: what goes wrong is told over the socket."""
    return await _with_control(_SESSION, control)


async def _with_control(code: str, control: int, *words: str) -> asyncio.subprocess.Process:
    """A helper whose standard input is a socket of ours."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-E", "-c", code, _IMPORT_ROOT, *words),
        stdin=control,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def _python(code: str, *arguments: str) -> asyncio.subprocess.Process:
    """A helper in its own session, with the standard library only and no inherited environment."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", "-E", "-c", code, _IMPORT_ROOT, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
