"""Errors of the machinery itself; what a client is told is a `status.ApiError`."""

from __future__ import annotations


class MachineryError(Exception):
    """Base of what this package raises for input it cannot work with."""


class BadRequest(MachineryError):
    """The bytes, text or parameters are malformed (HTTP 400)."""


class PatchError(MachineryError):
    """A patch cannot be applied to this document (HTTP 422)."""


class PatchTestFailed(PatchError):
    """A `test` operation of a JSON patch did not hold."""
