"""A Docker daemon of the test's own: its root, sockets and containerd are in one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import image_archives
import pytest
from containerd import ANY, IMAGE, PAUSE, START_TIMEOUT_S, shims

from cluster.kubelet.runtimes.helpers import linux
from cluster.kubelet.runtimes.host_mounts import mounts

DOCKERD = shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_MISSING = image_archives.needs("docker", "containerd", "runc")
_WHY_NOT = "needs root" if os.geteuid() != 0 else _MISSING or ("" if DOCKERD else "no dockerd")
needs_dockerd = pytest.mark.skipif(bool(_WHY_NOT), reason=f"docker: {_WHY_NOT}")


class Dockerd:
    """Runs from construction to `close`. It touches neither bridges nor iptables."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="raykube-dockerd-"))
        self.endpoint = f"unix://{self.folder}/docker.sock"
        command = [
            *(DOCKERD, "--host", self.endpoint, "--data-root", f"{self.folder}/root"),
            *("--exec-root", f"{self.folder}/exec", "--pidfile", f"{self.folder}/pid"),
            *("--iptables=false", "--ip6tables=false", "--bridge=none", "--userland-proxy=false"),
        ]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._docker("version").returncode != 0:
            assert self._process.poll() is None, (self.folder / "log").read_text()[-4000:]
            assert time.monotonic() < deadline, "dockerd does not answer"
            time.sleep(0.05)
        sleeping = ["/bin/busybox", "sleep", "2147483647"]
        any_name = ANY.removeprefix("docker.io/library/")
        for archive in (
            image_archives.busybox(self.folder / "busybox.tar", IMAGE, any_name),
            image_archives.busybox(self.folder / "pause.tar", PAUSE, Entrypoint=sleeping, Cmd=[]),
        ):
            loaded = self._docker("load", "-i", str(archive))
            assert loaded.returncode == 0, loaded.stderr
            archive.unlink()

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "--host", self.endpoint, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def running(self) -> set[str]:
        """Ids, of what holds namespaces too."""
        return set(self._docker("ps", "-q", "--no-trunc").stdout.split())

    def pid_of(self, container: str) -> int:
        return int(self._docker("inspect", "-f", "{{.State.Pid}}", container).stdout)

    def remove(self, container: str) -> None:
        """Behind the back of whoever made it."""
        self._docker("rm", "-f", container)

    def close(self) -> None:
        if left := self.running():
            self._docker("rm", "-f", *left)
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        for pid in shims(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for point, _ in reversed(list(mounts())):
            if point.startswith(f"{self.folder}/"):
                linux.unmount(point, linux.MNT_DETACH)
        shutil.rmtree(self.folder, ignore_errors=True)
