"""A command as a user who is not root and has no privilege at all.

Python itself, or the project, may be below a folder that is root's alone. Then the command gets a
mount namespace in which that folder has nothing but them, and is open to everybody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[4]
NEEDED = tuple(dict.fromkeys([Path(sys.base_prefix), Path(sys.prefix), PROJECT]))

OPENED = """
aside=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$aside"
for path in {paths}; do mkdir -p "$aside/$path"; mount --rbind "$path" "$aside/$path"; done
for path in {closed}; do mount -t tmpfs -o mode=755 none "$path"; done
for path in {paths}; do mkdir -p "$path"; mount --rbind "$aside/$path" "$path"; done
umount -l "$aside"; rmdir "$aside"
exec "$@"
"""


def closed_above(path: Path) -> Path | None:
    """The topmost folder on the way to it that others may not pass."""
    for folder in [*reversed(path.parents), path]:
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def command(user: int, *words: str) -> list[str]:
    """The words as this user's command."""
    ids = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
    lowered = ["setpriv", *ids, *words]
    behind = {path: closed for path in NEEDED if (closed := closed_above(path))}
    if not behind:
        return lowered
    script = OPENED.format(
        paths=" ".join(map(str, behind)), closed=" ".join(sorted(set(map(str, behind.values()))))
    )
    return ["unshare", "--mount", "--propagation=private", "sh", "-ec", script, "sh", *lowered]


def why_not(user: int) -> str:
    """Why it cannot be done here; "" if it can. The user starts Python twice, as a kubelet does."""
    if os.geteuid() != 0 or not shutil.which("setpriv") or not shutil.which("unshare"):
        return "needs root, setpriv and unshare, to become another user"
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    words = command(user, sys.executable, "-c", code, "import cluster.kubelet.kubelet")
    done = subprocess.run(words, cwd="/", capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"another user cannot run Python: {done.stderr[-300:]}"
