"""What the command says when it cannot do what was asked, and the exit code it ends with."""

from __future__ import annotations

OK, FAILED, USAGE, NO_CLUSTER, EXISTS, NOT_READY, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

EXIT_CODES = """\b
Exit codes:
  0    done
  1    failed; the message says why and what to do next
  2    wrong usage
  3    no cluster of that name
  4    a cluster of that name exists already
  5    the cluster did not become ready in time
  130  interrupted"""


class CommandError(Exception):
    """Shown as `raykube: message`, with the next step on a line of its own."""

    def __init__(self, message: str, *, hint: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
