"""kubeconfig files: one context per cluster, merged without touching what others put there."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cluster.cli.errors import CommandError
from cluster.pki import KeyPair


def context_name(cluster: str) -> str:
    return f"raykube-{cluster}"


def default_path() -> Path:
    """The first file of $KUBECONFIG, or `~/.kube/config`, as kubectl chooses."""
    listed = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return Path(listed[0]) if listed else Path.home() / ".kube" / "config"


def build(cluster: str, server: str, authority: bytes, admin: KeyPair) -> dict[str, Any]:
    """A complete kubeconfig for the cluster's administrator, credentials included."""
    name = context_name(cluster)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": _encode(authority)},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": _encode(admin.certificate),
                    "client-key-data": _encode(admin.key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def certificate_of(path: Path) -> bytes:
    """The administrator's, from a file that `build` made."""
    config = yaml.safe_load(path.read_text())
    return base64.b64decode(config["users"][0]["user"]["client-certificate-data"])


def server_of(path: Path) -> str:
    """Where the API server is, from a file that `build` made."""
    config = yaml.safe_load(path.read_text())
    return str(config["clusters"][0]["cluster"]["server"])


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def merge(path: Path, config: dict[str, Any]) -> None:
    """Add the config's entries to the file and make its context the current one."""
    with _editing(path) as existing:
        for section in ("clusters", "users", "contexts"):
            replaced = {entry["name"] for entry in config[section]}
            kept = [entry for entry in existing.get(section) or [] if entry["name"] not in replaced]
            existing[section] = kept + config[section]
        existing["current-context"] = config["current-context"]


def remove(path: Path, cluster: str) -> None:
    """Take the cluster's entries out again; a file that is then empty goes too."""
    if not path.exists():
        return
    name = context_name(cluster)
    with _editing(path) as existing:
        for section in ("clusters", "users", "contexts"):
            entries = existing.get(section) or []
            existing[section] = [entry for entry in entries if entry["name"] != name]
        if existing.get("current-context") == name:
            existing["current-context"] = ""
    if not any(existing.get(section) for section in ("clusters", "users", "contexts")):
        path.unlink()


def write(path: Path, config: dict[str, Any]) -> None:
    """Write one file atomically, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(dump(config))
    temporary.replace(path)


def dump(config: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(config, sort_keys=False)
    return text


@contextlib.contextmanager
def _editing(path: Path) -> Iterator[dict[str, Any]]:
    """The file's content to change, under kubectl's own lock-file convention."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock_path = path.with_name(path.name + ".raykube-lock")
    with lock_path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        config = _read(path)
        yield config
        write(path, config)
    lock_path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    try:
        config = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise CommandError(
            f"{path} is not valid YAML: {error}", hint="mend it, or use --kubeconfig FILE"
        ) from error
    if not isinstance(config, dict):
        raise CommandError(f"{path} is no kubeconfig", hint="mend it, or use --kubeconfig FILE")
    return config
