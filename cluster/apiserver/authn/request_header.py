"""Users whom a front proxy vouches for, in headers (upstream's --requestheader-* flags)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from cluster.apiserver.authn.user import User
from cluster.apiserver.authn.x509 import common_name, subject_of
from cluster.apiserver.http.messages import Request


class FrontProxyAuthenticator:
    """Believes the headers of whoever has a certificate of the proxies' own authority.

    Config: ca (a file), allowed_names (empty: all), username_headers, uid_headers,
    group_headers, extra_header_prefixes. The headers are taken out of every request that
    carries them, so that nobody behind this server is misled by a stranger's.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.issuer = subject_of(config["ca"])
        self._allowed = frozenset(config.get("allowed_names") or ())
        self._names = _lower(config.get("username_headers") or ["X-Remote-User"])
        self._uids = _lower(config.get("uid_headers") or ["X-Remote-Uid"])
        self._groups = _lower(config.get("group_headers") or ["X-Remote-Group"])
        self._extra = _lower(config.get("extra_header_prefixes") or ["X-Remote-Extra-"])

    async def identify(self, request: Request) -> User | None:
        headers = self._taken(request.headers)
        certificate = request.peer_certificate
        if not certificate or certificate.get("issuer") != self.issuer:
            return None
        if self._allowed and common_name(certificate) not in self._allowed:
            return None
        name = next((headers[key] for key in self._names if headers.get(key)), "")
        if not name:
            return None
        uid = next((headers[key] for key in self._uids if headers.get(key)), "")
        groups = [g for key in self._groups for g in _split(headers.get(key, ""))]
        return User(name, tuple(groups), uid, self._extras(headers))

    def _taken(self, headers: dict[str, str]) -> dict[str, str]:
        plain = {*self._names, *self._uids, *self._groups}
        mine = [key for key in headers if key in plain or key.startswith(self._extra)]
        return {key: headers.pop(key) for key in mine}

    def _extras(self, headers: Mapping[str, str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found: dict[str, tuple[str, ...]] = {}
        for header, value in sorted(headers.items()):
            for prefix in self._extra:
                if header.startswith(prefix):
                    key = unquote(header[len(prefix) :])
                    found[key] = (*found.get(key, ()), *_split(value))
        return tuple(found.items())


def _lower(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def _split(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]
