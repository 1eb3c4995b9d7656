"""Reads an EncryptionConfiguration (apiserver.config.k8s.io/v1): which values, which keys."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import yaml

from actors.seams import Seams
from cluster.machinery import resources
from cluster.storage import keys
from cluster.storage.encryption.providers import Identity, Provider, make

KIND, API_VERSION = "EncryptionConfiguration", "apiserver.config.k8s.io/v1"
Providers = tuple[Provider, ...]
"""The first writes, all read."""

if TYPE_CHECKING:
    from cluster.storage.encryption.kms import Kms


def is_remote(provider: Provider) -> TypeGuard[Kms]:
    """Whether the provider asks somebody else, and so has to be started."""
    return hasattr(provider, "start")


class Rules:
    """The providers of each key of the store."""

    def __init__(self, listed: Sequence[tuple[str, Providers]]) -> None:
        """`listed`: (resource as "secrets", "deployments.apps" or with wildcards, providers)."""
        self._listed = listed
        core = [r for r in resources.ALL if not r.group]
        self._core = {keys.prefix(r).split("/")[2] for r in core}
        self._groups = {r.group for r in resources.ALL}
        self._found: dict[str, Providers | None] = {}
        self.remote = [p for _, group in self._distinct() for p in group if is_remote(p)]
        """Providers that ask somebody else."""

    def _distinct(self) -> Iterable[tuple[str, Providers]]:
        """Resources of one entry share their providers."""
        return {id(providers): (name, providers) for name, providers in self._listed}.values()

    async def start(self) -> None:
        await asyncio.gather(*(provider.start() for provider in self.remote))

    async def stop(self) -> None:
        await asyncio.gather(*(provider.stop() for provider in self.remote))

    @property
    def problem(self) -> str:
        """What is wrong with those that are asked; "" if nothing is."""
        return "; ".join(filter(None, (provider.problem for provider in self.remote)))

    def of(self, key: bytes) -> Providers | None:
        """None for values that stand as they are."""
        parts = key.split(b"/", 4)
        if len(parts) < 4 or parts[1] != b"registry":
            return None
        name = b"/".join(parts[2:4]).decode("utf-8", "replace")
        plain = parts[2].decode("utf-8", "replace")
        name = plain if plain in self._core else name
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def _search(self, name: str) -> Providers | None:
        group, _, plural = name.rpartition("/")
        if group and group not in self._groups and "." not in group:
            return None  # the server's own bookkeeping: no resource
        for pattern, providers in self._listed:
            wanted, _, wanted_group = pattern.partition(".")
            suits = wanted in ("*", plural) and wanted_group in ("*", group)
            if suits or (pattern == "*." and not group):
                return providers
        return None


def load(path: str, seams: Seams) -> Rules:
    """From a file. Raises OSError, and ValueError for what is none."""
    return parse(Path(path).read_bytes(), path, seams)


def parse(text: bytes, path: str, seams: Seams) -> Rules:
    """From the text of a file at `path`. Raises ValueError."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if document.get("kind") != KIND or document.get("apiVersion") != API_VERSION:
        raise ValueError(f"{path}: not an {KIND} of {API_VERSION}")
    listed: list[tuple[str, Providers]] = []
    for entry in document.get("resources") or ():
        providers = tuple(p for each in entry["providers"] for p in _providers(each, seams))
        if not providers:
            raise ValueError(f"{path}: resources need at least one provider")
        listed += [(str(resource), providers) for resource in entry["resources"]]
    return Rules(listed)


def _providers(entry: Mapping[str, Any], seams: Seams) -> list[Provider]:
    ((kind, described),) = entry.items()
    if kind == "identity":
        return [Identity()]
    if kind == "kms":
        from cluster.storage.encryption import kms  # gRPC takes a while to load

        return [kms.make(described or {}, seams)]
    found = []
    for key in (described or {}).get("keys") or ():
        secret = base64.b64decode(key["secret"], validate=True)
        found.append(make(kind, str(key["name"]), secret, seams.randomness.randbytes))
    if not found:
        raise ValueError(f"encryption provider {kind!r} is not supported, or has no keys")
    return found


def document(kind: str, name: str, secret: bytes, plurals: Sequence[str]) -> str:
    """A configuration with one key, which leaves what stood plain before readable."""
    key = {"name": name, "secret": base64.b64encode(secret).decode()}
    providers: list[Any] = [{kind: {"keys": [key]}}, {"identity": {}}]
    entry = {"resources": list(plurals), "providers": providers}
    whole = {"kind": KIND, "apiVersion": API_VERSION, "resources": [entry]}
    return yaml.safe_dump(whole, sort_keys=False)
