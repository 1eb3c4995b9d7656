"""What a registry says about who may read: `WWW-Authenticate`, and the answer to it. Pure.

Token authentication: the distribution project's specification "Token Authentication".
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from cluster.kubelet.runtimes.images import Credentials

_PARAMETER = re.compile(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HEADER_SIZE_MAX = 8192


@dataclass(frozen=True)
class Challenge:
    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)


def parse(header: str) -> Challenge:
    """The first challenge of the header; scheme and names in lower case."""
    scheme, _, rest = header[:_HEADER_SIZE_MAX].strip().partition(" ")
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAMETER.findall(rest):
        found.setdefault(name.lower(), quoted.replace('\\"', '"') or plain)
    return Challenge(scheme.lower(), found)


def basic(credentials: Credentials) -> str:
    text = f"{credentials.username}:{credentials.password}"
    return "Basic " + base64.b64encode(text.encode()).decode()


def token_url(challenge: Challenge, scope: str) -> str:
    """Where to ask for a token. Raises ValueError if the challenge does not say."""
    realm = challenge.parameters.get("realm", "")
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.hostname or not realm.isprintable():
        raise ValueError(f"the registry names no place for tokens: {realm!r}")
    query = {"scope": challenge.parameters.get("scope") or scope}
    if service := challenge.parameters.get("service"):
        query["service"] = service
    return realm + ("&" if parts.query else "?") + urlencode(query)


def token(body: bytes) -> str:
    """Raises ValueError."""
    answer = json.loads(body)
    found = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else ""
    if not isinstance(found, str) or not found or not found.isprintable():
        raise ValueError("the answer holds no token")
    return found
