"""What is sent on of a request, and back of an answer (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from cluster.apiserver.http.messages import Request

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
     "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
_OURS = frozenset({"host", "content-length", "authorization", "expect"})
_SPOKEN_FOR = ("x-remote-", "impersonate-", "x-forwarded-")
"""Who asks was found out here, and is nobody else's business."""


def upgrade_of(headers: Mapping[str, str]) -> str:
    """The protocol that a request, or an answer, changes to; "" for none."""
    connection = headers.get("connection", "").lower()
    return headers.get("upgrade", "") if "upgrade" in connection else ""


def request_headers(request: Request, host: str) -> dict[str, str]:
    """Of the request that is sent on; its length is the caller's matter."""
    kept = {
        name: text
        for name, text in request.headers.items()
        if name not in HOP_BY_HOP | _OURS and not name.startswith(_SPOKEN_FOR)
    }
    before = request.headers.get("x-forwarded-for", "")
    chain = ", ".join(filter(None, (before, request.peer_address)))
    kept |= {"x-forwarded-for": chain} if chain else {}
    kept |= {"x-forwarded-host": request.headers.get("host", ""), "x-forwarded-proto": "https"}
    kept |= {"x-forwarded-uri": request.raw_path or request.path}
    upgrade = upgrade_of(request.headers)
    if upgrade:
        kept |= {"connection": "Upgrade", "upgrade": upgrade}
    return {"host": host, **{name: text for name, text in kept.items() if text}}


def encode_request(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Line breaks in values become blanks: they may quote input."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{n}: {v}".replace("\r", " ").replace("\n", " ") for n, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


def answer_headers(headers: Mapping[str, str], prefix: str, host: str) -> dict[str, str]:
    """Of the answer that is passed back. Redirects within the backend lead through us again:
    `prefix` is our path to its root."""
    left_out = HOP_BY_HOP | {"content-length", "content-type", "date"}
    kept = {_title(name): text for name, text in headers.items() if name not in left_out}
    if prefix and "Location" in kept:
        kept["Location"] = _through(kept["Location"], prefix, host)
    return kept


def _through(location: str, prefix: str, host: str) -> str:
    parts = urlsplit(location)
    if (parts.netloc and parts.netloc != host) or not parts.path.startswith("/"):
        return location
    query = f"?{parts.query}" if parts.query else ""
    return prefix + parts.path + query


def _title(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
