"""URLs as Go's net/url reads them (Kubernetes's urls library)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from cluster.machinery.cel.errors import EvaluationError
from cluster.machinery.cel.functions import Overload, declare, traverse

_SAFE_PATH = "/$&+,;=:@!*'()-_.~%"


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed absolute URI or path."""

    text: str
    parts: SplitResult
    type_name = "kubernetes.URL"


def parse(text: str) -> Url:
    """Go's url.ParseRequestURI: absolute, or a path from the root."""
    try:
        if not text or any(ord(c) < 0x20 or ord(c) == 0x7F or c == " " for c in text):
            raise ValueError("invalid control character in URL")
        parts = urlsplit(text)
        _ = parts.port
        if not parts.scheme and not text.startswith("/"):
            raise ValueError("invalid URI for request")
    except ValueError as error:
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": '
                              f"{error}") from None  # fmt: skip
    return Url(text, parts)


def _is_url(text: str) -> bool:
    try:
        parse(text)
    except EvaluationError:
        return False
    return True


def _host(url: Url) -> str:
    return url.parts.netloc.rpartition("@")[2]


def _hostname(url: Url) -> str:
    host = _host(url)
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _port(url: Url) -> str:
    return str(url.parts.port) if url.parts.port is not None else ""


def _escaped_path(url: Url) -> str:
    return quote(unquote(url.parts.path), safe=_SAFE_PATH.replace("%", ""))


def _query(url: Url) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(url.parts.query, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


_U = "kubernetes.URL"
_T = traverse()

OVERLOADS: list[Overload] = [
    declare(f"url(string): {_U}", parse, _T),
    declare("isURL(string): bool", _is_url, _T),
    declare(f"{_U}->getScheme(): string", lambda u: u.parts.scheme),
    declare(f"{_U}->getHost(): string", _host),
    declare(f"{_U}->getHostname(): string", _hostname),
    declare(f"{_U}->getPort(): string", _port),
    declare(f"{_U}->getEscapedPath(): string", _escaped_path),
    declare(f"{_U}->getQuery(): map(string, list(string))", _query),
]
