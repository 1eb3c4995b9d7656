"""How a command ended, as the error stream of the remote command protocols tells it (pure)."""

from __future__ import annotations

from typing import Any

Status = dict[str, Any]

SUCCESS: Status = {"metadata": {}, "status": "Success"}


def exited(code: int) -> Status:
    """Of a command; clients take the exit code from the cause."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failed(message: str) -> Status:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
