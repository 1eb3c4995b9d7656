"""Who this server is to webhooks: the users of a kubeconfig, by where a webhook listens.

As upstream's WebhookAdmissionConfiguration: a user of the file is named after a server
(`NAME.NAMESPACE.svc` or a host, with `:PORT` if it is not 443), after all below a domain
(`*.NAMESPACE.svc`), or is called `*`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from cluster.client.config import ClientConfig, users_of

HTTPS_PORT = 443


class WebhookIdentities:
    """Nobody, without a file."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config`: a WebhookAdmissionConfiguration. Raises OSError or ValueError for its file."""
        path = config.get("kubeConfigFile")
        self._users: Mapping[str, ClientConfig] = users_of(str(path)) if path else {}

    def present(self, server: str, port: int, context: ssl.SSLContext) -> None:
        """Have a new connection show our certificate, if there is one for this server."""
        user = self._of(server, port)
        if user is not None:
            user.load_certificate(context)

    def header(self, server: str, port: int) -> str:
        """The Authorization line of a request, or ""."""
        user = self._of(server, port)
        return f"Authorization: Bearer {user.token}\r\n" if user and user.token else ""

    def _of(self, server: str, port: int) -> ClientConfig | None:
        for name in _names(server, port):
            if name in self._users:
                return self._users[name]
        return None


def _names(server: str, port: int) -> Iterator[str]:
    """From the most special to `*`."""
    end = "" if port == HTTPS_PORT else f":{port}"
    yield f"{server}{end}"
    rest = server
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}{end}"
    yield "*"
