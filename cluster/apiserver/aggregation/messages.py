"""What is sent on to another API server: a client's request, and who sent it (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

from cluster.apiserver.authn.user import User
from cluster.apiserver.http.messages import Request

Header = tuple[str, str]

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
     "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
_NOT_SENT = HOP_BY_HOP | {"host", "content-length", "authorization", "expect"}
_SPOKEN_FOR = ("x-remote-", "impersonate-", "x-forwarded-")
"""What a client says of itself counts only here; the next server believes what we say."""
_PATH_SAFE = "/!$&'()*+,;=:@~"
AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
"""Who asks for what this server itself wants to know."""


def encode(
    method: str, target: str, host: str, headers: Sequence[Header], body: bytes = b""
) -> bytes:
    """One HTTP/1.1 request. Line breaks in values become blanks."""
    sent = [("Host", host), *headers]
    if body or method not in ("GET", "HEAD", "DELETE"):
        sent.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {_line(text)}" for name, text in sent)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def target_of(request: Request) -> str:
    """Path and query as they were asked for."""
    path = quote(request.path, safe=_PATH_SAFE)
    query = urlencode(request.query, doseq=True)
    return f"{path}?{query}" if query else path


def forwarded(request: Request, user: User) -> list[Header]:
    """The headers of a request that is passed on for a user."""
    kept = [
        (name, text)
        for name, text in request.headers.items()
        if name not in _NOT_SENT and not name.startswith(_SPOKEN_FOR)
    ]
    before = request.headers.get("x-forwarded-for", "")
    chain = ", ".join(filter(None, (before, request.peer_address)))
    told = {
        "X-Forwarded-For": chain,
        "X-Forwarded-Host": request.headers.get("host", ""),
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Uri": request.path,
    }
    return [*kept, *((n, t) for n, t in told.items() if t), *identity(user)]


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


def answered(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that are passed on to the client."""
    left_out = HOP_BY_HOP | {"content-length", "content-type", "date", "server"}
    return {_title(name): text for name, text in headers.items() if name not in left_out}


def _title(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


def _line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")
