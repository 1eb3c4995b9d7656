"""Continue tokens: the revision of a paged list and the last key sent (opaque to clients)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import orjson

from cluster.machinery import status

LATEST = -1
"""The revision of a token that goes on at the newest state: an inconsistent continuation."""
_VERSION = "meta.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Continuation:
    revision: int
    key: str
    """The last key of the page before, without the prefix of the list."""

    def encode(self) -> str:
        fields = {"v": _VERSION, "rv": self.revision, "start": self.key}
        return base64.urlsafe_b64encode(orjson.dumps(fields)).rstrip(b"=").decode()


def decode(token: str) -> Continuation:
    """400 for what is not a token of ours."""
    try:
        fields = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if fields["v"] != _VERSION or not fields["start"] or ".." in fields["start"]:
            raise ValueError(token)
        revision = int(fields["rv"])
        if revision == 0 or not LATEST <= revision < 2**63:
            raise ValueError(token)
        return Continuation(revision, str(fields["start"]))
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise status.bad_request("continue key is not valid: illegal continue token") from error


def expired(key: str) -> status.ApiError:
    """410 with a token that goes on, inconsistently, at the newest state."""
    error = status.gone(
        "The provided continue parameter is too old to display a consistent list result. "
        "You can start a new list without the continue parameter, or use the continue token in "
        "this response to retrieve the remainder of the results. Continuing with the provided "
        "token results in an inconsistent list - objects that were created, modified, or deleted "
        "between the time the first chunk was returned and now may show up in the list."
    )
    error.status["metadata"] = {"continue": Continuation(LATEST, key).encode()}
    return error
