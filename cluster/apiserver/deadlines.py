"""How long a request may take, unless it is one that goes on."""

from __future__ import annotations

from cluster.apiserver.http.messages import Request
from cluster.machinery import status
from cluster.machinery.cel.clock import parse_duration
from cluster.machinery.cel.errors import EvaluationError

REQUEST_TIMEOUT_S = 60.0


def allowed_s(request: Request) -> float:
    """What the parameter `timeout` asks for (a duration of Go), REQUEST_TIMEOUT_S at most.

    400 for what is no duration.
    """
    text = request.parameter("timeout")
    if not text:
        return REQUEST_TIMEOUT_S
    try:
        asked_s = parse_duration(text).ns / 1e9
    except EvaluationError:
        why = f'invalid timeout specified in the request URL - time: invalid duration "{text}"'
        raise status.bad_request(why) from None
    return min(asked_s, REQUEST_TIMEOUT_S) if asked_s > 0 else REQUEST_TIMEOUT_S
