"""What can go wrong between a client and its servers; server answers are `status.ApiError`."""

from __future__ import annotations


class ClientError(Exception):
    """Base of the transport's errors."""


class Unreachable(ClientError):
    """No server could be reached: the request was surely not sent."""


class UnknownOutcome(ClientError):
    """The request was sent but no answer came: it may or may not have been carried out."""


class Closed(ClientError):
    """The client was closed while, or before, the request was made."""
