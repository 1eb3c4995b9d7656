"""Small real images for tests, built from Debian's busybox-static, as docker archives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BUSYBOX = next((path for path in ("/bin/busybox", "/usr/bin/busybox") if os.path.exists(path)), "")
FOLDERS = ("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "usr", "var")


def busybox_files() -> dict[str, bytes]:
    """/bin/busybox and the usual files of /etc."""
    assert BUSYBOX, "busybox is not installed"
    return {
        "bin/busybox": Path(BUSYBOX).read_bytes(),
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home:/bin/sh\n",
        "etc/group": b"root:x:0:\nguest:x:1000:\nmedia:x:2000:guest\n",
    }


def layer(files: Mapping[str, bytes], *, applets: bool = False) -> bytes:
    """An uncompressed tar of the usual folders and these files (all of them executable)."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name in FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            tar.addfile(entry, io.BytesIO(data))
        for name in _applets() if applets else ():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return output.getvalue()


def _applets() -> Sequence[str]:
    listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split() if name != "busybox"]


def archive(path: Path, tags: Sequence[str], layers: Sequence[bytes], **config: Any) -> Path:
    """Write `docker save`'s format. `config` is that of the image: Cmd, Env, User and so on."""
    digests = [hashlib.sha256(data).hexdigest() for data in layers]
    image = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64"),
        "os": "linux",
        "config": {"Env": ["PATH=/bin:/sbin:/usr/bin"]} | config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    text = json.dumps(image).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    names = [f"{digest}/layer.tar" for digest in digests]
    manifest = [{"Config": name, "RepoTags": list(tags), "Layers": names}]
    with tarfile.open(path, "w") as tar:
        parts = {"manifest.json": json.dumps(manifest).encode(), name: text}
        for part, data in (parts | dict(zip(names, layers, strict=True))).items():
            entry = tarfile.TarInfo(part)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def busybox(path: Path, *tags: str, **config: Any) -> Path:
    """An image with a shell and all of busybox."""
    layers = [layer(busybox_files(), applets=True)]
    return archive(path, tags, layers, **({"Cmd": ["sh"]} | config))


def needs(*tools: str) -> str:
    """Why tests that need these programs (and busybox) are skipped here; "" if they are not."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    missing += [] if BUSYBOX else ["busybox"]
    return f"not installed: {', '.join(missing)}" if missing else ""
