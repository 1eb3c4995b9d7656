"""Layers and images made by hand, well-formed and hostile."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.kubelet.images.store import ImageStore

sys.path.insert(0, str(Path(__file__).parents[3] / "behaviour"))  # for `registries`

Entry = tuple[str, Any]


def tar_of(*entries: Entry) -> bytes:
    """(name, content): bytes are files, None is a folder, a dict is a header's fields."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            member.mode = 0o644
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
            fields = content if isinstance(content, dict) else {}
            for field, value in fields.items():
                if field != "data":
                    setattr(member, field, value)
            data = content if isinstance(content, bytes) else fields.get("data", b"")
            if member.isreg():
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layout(folder: Path, name: str, *layers: bytes, **run: Any) -> Path:
    """An OCI layout with one image; `layers` are plain tar archives."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def blob(data: bytes, media_type: str) -> dict[str, Any]:
        (blobs / digest(data).removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    oci = "application/vnd.oci.image."
    packed = [blob(gzip.compress(each, mtime=0), oci + "layer.v1.tar+gzip") for each in layers]
    diff_ids = run.pop("diff_ids", [digest(each) for each in layers])
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = {"architecture": "amd64", "os": "linux", "config": run, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci + "manifest.v1+json",
        "config": blob(json.dumps(config).encode(), oci + "config.v1+json"),
        "layers": packed,
    }
    entry = blob(json.dumps(manifest).encode(), oci + "manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": name}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


class Made:
    tar_of = staticmethod(tar_of)
    layout = staticmethod(layout)
    digest = staticmethod(digest)


@pytest.fixture(scope="session")
def made() -> type[Made]:
    return Made


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    found = ImageStore(str(tmp_path / "store"))
    found.create()
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """What lies beside the folder that a layer is unpacked into; it must stay as it is."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "secret").write_bytes(b"secret")

    def state() -> dict[str, bytes]:
        found = [p for p in sorted(tmp_path.rglob("*")) if not p.is_relative_to(tmp_path / "root")]
        return {str(p): p.read_bytes() if p.is_file() else b"" for p in found}

    return state
