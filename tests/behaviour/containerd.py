"""A containerd of the test's own: its root, state and socket are in one folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import image_archives
import pytest

from cluster.kubelet.runtimes.helpers import linux
from cluster.kubelet.runtimes.host_mounts import mounts

IMAGE, PAUSE = "raykube.test/busybox:1", "raykube.test/pause:1"
ANY = "docker.io/library/any:latest"
"""The same as IMAGE: the image `any` of pods that run over every runtime."""
_MISSING = image_archives.needs("containerd", "ctr", "runc")
WHY_NOT = "needs root" if os.geteuid() != 0 else _MISSING
needs_containerd = pytest.mark.skipif(bool(WHY_NOT), reason=f"containerd: {WHY_NOT}")
START_TIMEOUT_S = 60.0

CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.internal.v1.restart", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper",
]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/registries"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.other]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""


class Containerd:
    """Runs from construction to `close`. `prefix` is put before its command."""

    def __init__(self, prefix: tuple[str, ...] = (), cni: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="raykube-containerd-"))
        self.endpoint = f"unix://{self.folder}/containerd.sock"
        self._prefix = prefix
        (self.folder / "cni").mkdir()
        (self.folder / "registries").mkdir()
        if cni:
            (self.folder / "cni" / "10-test.conflist").write_text(cni)
        config = CONFIG.format(folder=self.folder, pause=PAUSE)
        (self.folder / "config.toml").write_text(config)
        self.start()
        sleeping = ["/bin/busybox", "sleep", "2147483647"]
        archives = [
            image_archives.busybox(self.folder / "busybox.tar", IMAGE, ANY),
            image_archives.busybox(self.folder / "pause.tar", PAUSE, Entrypoint=sleeping, Cmd=[]),
        ]
        for archive in archives:
            self.load(archive)
            archive.unlink()

    def start(self) -> None:
        """Also again after `kill`."""
        command = [*self._prefix, "containerd", "-c", str(self.folder / "config.toml")]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._ctr("version").returncode != 0:
            assert self._process.poll() is None, (self.folder / "log").read_text()[-4000:]
            assert time.monotonic() < deadline, "containerd does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash of containerd: what runs in it goes on."""
        self._process.kill()
        self._process.wait(30)

    def load(self, archive: Path) -> None:
        answer = self._ctr("-n", "k8s.io", "images", "import", str(archive))
        assert answer.returncode == 0, answer.stderr

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "-a", str(self.folder / "containerd.sock"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def running(self) -> set[str]:
        """Ids, of sandboxes too."""
        return set(self._ctr("-n", "k8s.io", "tasks", "ls", "-q").stdout.split())

    def pid_of(self, task: str) -> int:
        """Of the first process of a container or sandbox that runs."""
        lines = self._ctr("-n", "k8s.io", "tasks", "ls").stdout.splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(task))

    def close(self) -> None:
        for task in self.running():
            self._ctr("-n", "k8s.io", "tasks", "rm", "-f", task)
        self._process.terminate()
        self._process.wait(30)
        for pid in shims(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for point, _ in reversed(list(mounts())):
            if point.startswith(f"{self.folder}/"):
                linux.unmount(point, linux.MNT_DETACH)
        shutil.rmtree(self.folder, ignore_errors=True)


def shims(folder: Path) -> Iterator[int]:
    """Processes that the containerd in a folder has started and that outlive it."""
    marker = f"{folder}/".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            if b"containerd-shim" in words.partition(b"\0")[0] and marker in words:
                yield int(name)
