"""What is sent on to another API server: a client's request, and who sent it (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from cluster.apiserver.authn.user import User
from cluster.apiserver.http.messages import Request
from cluster.apiserver.proxying import messages

Header = tuple[str, str]

AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
"""Who asks for what this server itself wants to know."""


def asking(path: str, host: str) -> bytes:
    """This server's own question."""
    headers = [("Host", host), ("Accept", "application/json"), *identity(AGGREGATOR)]
    return encode("GET", path, headers)


def encode(method: str, target: str, headers: Sequence[Header], body: bytes = b"") -> bytes:
    """One HTTP/1.1 request. Line breaks in values become blanks."""
    sent = list(headers)
    if body or method not in ("GET", "HEAD", "DELETE"):
        sent.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {_line(text)}" for name, text in sent)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def forwarded(request: Request, user: User, host: str) -> list[Header]:
    """The headers of a request that is passed on for a user."""
    return [*messages.request_headers(request, host).items(), *identity(user)]


def identity(user: User) -> Iterator[Header]:
    """Whom the front proxy vouches for, as upstream's SetAuthProxyHeaders."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    for key, values in user.extra:
        for value in values:
            yield f"X-Remote-Extra-{quote(key, safe='')}", value


def _line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")
