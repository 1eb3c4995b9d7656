"""Every exception becomes a Status: what a client is told, and with which headers."""

from __future__ import annotations

import logging
from typing import Any

from cluster.apiserver import encodings
from cluster.apiserver.http.messages import Request, Response
from cluster.machinery import errors as machinery
from cluster.machinery import status
from cluster.machinery.status import ApiError
from raftstore import errors as store

log = logging.getLogger(__name__)

RETRY_AFTER_S = 1
REJECTED = "the server rejected our request due to an error in our request"


def to_api_error(error: Exception) -> ApiError:
    """The error as clients know it. An unknown outcome is a timeout, never a failure."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, machinery.PatchError):
        return status.failure(422, "Invalid", f"{REJECTED}: {error}")
    if isinstance(error, machinery.MachineryError):
        return status.bad_request(str(error))
    if isinstance(error, store.StoreError):
        return _store_error(error)
    if isinstance(error, TimeoutError):
        return status.timeout("request did not complete within the allotted timeout")
    log.error("unexpected error", exc_info=error)
    return status.internal_error(f"{type(error).__name__}: {error}")


def _store_error(error: store.StoreError) -> ApiError:
    if isinstance(error, store.UnknownOutcome | store.SessionExpired):
        return status.timeout(f"the outcome of the write is not known: {error}")
    if isinstance(error, store.Compacted):
        return status.gone("The resourceVersion for the provided request is too old.")
    if isinstance(error, store.InvalidRequest):
        return status.request_entity_too_large(str(error))
    unavailable = status.service_unavailable(f"the store is not available: {error}")
    unavailable.status["details"] = {"retryAfterSeconds": RETRY_AFTER_S}
    return unavailable


def to_response(error: ApiError, request: Request) -> Response:
    """The Status as an answer, with Retry-After where it says so."""
    response = encodings.reply(request, error.code, error.status)
    details: dict[str, Any] = error.status.get("details") or {}
    seconds = details.get("retryAfterSeconds")
    if seconds:
        response.headers["Retry-After"] = str(seconds)
    return response
