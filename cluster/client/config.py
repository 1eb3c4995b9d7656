"""Where the servers are and who we are: from our own config or from a kubeconfig file."""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from actors.tls import client_context


@dataclass(frozen=True)
class ClientConfig:
    """`ca`, `cert` and `key` are file paths, or PEM text (as embedded in kubeconfig files)."""

    servers: tuple[str, ...]
    ca: str = ""
    cert: str = ""
    key: str = ""
    token: str = ""

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> ClientConfig:
        """From the `client` part of a component's config. Raises KeyError without servers."""
        texts = {name: config.get(name) or "" for name in ("ca", "cert", "key", "token")}
        return cls(tuple(config["servers"]), **texts)

    @classmethod
    def from_kubeconfig(cls, path: str, context: str = "") -> ClientConfig:
        """The named (or current) context of a kubeconfig. Raises ValueError if it is not there."""
        document = yaml.safe_load(Path(path).read_text()) or {}
        chosen = _named(document, "contexts", context or document.get("current-context", ""))
        cluster = _named(document, "clusters", chosen["context"]["cluster"])["cluster"]
        user = _named(document, "users", chosen["context"]["user"])["user"]
        folder = Path(path).parent
        authority = _file_or_data(cluster, "certificate-authority", folder)
        return replace(_user(user, folder), servers=(cluster["server"],), ca=authority)

    def tls(self) -> ssl.SSLContext | None:
        """A context for https servers; None when all servers speak plain http."""
        if not any(url.startswith("https:") for url in self.servers):
            return None
        with tempfile.TemporaryDirectory() as folder:
            files = {name: _as_file(getattr(self, name), name, folder) for name in _FILES}
            return client_context(files)

    def load_certificate(self, context: ssl.SSLContext) -> None:
        """Have a context show the client's certificate, if there is one."""
        if self.cert:
            with tempfile.TemporaryDirectory() as folder:
                files = [_as_file(getattr(self, name), name, folder) for name in ("cert", "key")]
                context.load_cert_chain(*files)


def users_of(path: str) -> dict[str, ClientConfig]:
    """The users of a kubeconfig file, without servers. Raises OSError or ValueError."""
    document = yaml.safe_load(Path(path).read_text()) or {}
    if not isinstance(document, dict):
        raise ValueError(f"{path}: not a kubeconfig")
    folder = Path(path).parent
    return {each["name"]: _user(each["user"], folder) for each in document.get("users") or ()}


def _user(user: Mapping[str, Any], folder: Path) -> ClientConfig:
    return ClientConfig(
        (),
        cert=_file_or_data(user, "client-certificate", folder),
        key=_file_or_data(user, "client-key", folder),
        token=user.get("token", ""),
    )


_FILES = ("ca", "cert", "key")


def _named(document: Mapping[str, Any], part: str, name: str) -> dict[str, Any]:
    for entry in document.get(part) or ():
        if entry.get("name") == name:
            return dict(entry)
    raise ValueError(f"kubeconfig: no entry named {name!r} in {part}")


def _file_or_data(entry: Mapping[str, Any], name: str, folder: Path) -> str:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data).decode()
    path = entry.get(name, "")
    return str(folder / path) if path else ""


def _as_file(value: str, name: str, folder: str) -> str:
    """OpenSSL loads keys from files only, so embedded PEM text goes through a private one."""
    if not value.lstrip().startswith("-----BEGIN"):
        return value
    path = os.path.join(folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value)
    return path
