"""/healthz, /livez and /readyz: one line a check, as kubectl and load balancers expect them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cluster.apiserver.http.messages import Request, Response

TEXT = "text/plain; charset=utf-8"
Checks = Mapping[str, Callable[[], str]]
"""Name -> a function that returns "" if all is well, else what is wrong."""


class HealthPages:
    """`alive` for /livez; all checks for /readyz and /healthz."""

    def __init__(self, alive: Checks, ready: Checks) -> None:
        self._pages = {"livez": alive, "readyz": {**alive, **ready}, "healthz": alive}

    def answer(self, request: Request) -> Response | None:
        """None for other paths. `?verbose` shows the checks; `/readyz/NAME` asks for one."""
        page, _, only = request.path.strip("/").partition("/")
        checks = self._pages.get(page)
        if checks is None:
            return None
        excluded = set(request.query.get("exclude") or ())
        chosen = {n: c for n, c in checks.items() if n not in excluded and only in ("", n)}
        if only and not chosen:
            return Response(404, b"404 page not found\n", TEXT)
        return _page(page, chosen, "verbose" in request.query)


def _page(page: str, checks: Checks, verbose: bool) -> Response:
    failures = {name: problem for name, check in checks.items() if (problem := check())}
    if not failures and not verbose:
        return Response(200, b"ok", TEXT)
    lines = [
        f"[-]{name} failed: {failures[name]}" if name in failures else f"[+]{name} ok"
        for name in checks
    ]
    lines.append(f"{page} check {'failed' if failures else 'passed'}")
    return Response(500 if failures else 200, ("\n".join(lines) + "\n").encode(), TEXT)
