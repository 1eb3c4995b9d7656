"""GET: one object, or a list."""

from __future__ import annotations

from cluster.apiserver.context import Call
from cluster.apiserver.handlers import parameters
from cluster.apiserver.http.messages import Response


async def get(call: Call) -> Response:
    """One object, as new as the client asks (by default: as new as any)."""
    shaper = call.shaper()
    version = call.request.parameter("resourceVersion")
    parameters.check_version(version)
    return shaper.one(await call.registry.get(call.namespace, call.target.name, version))


async def list_(call: Call) -> Response:
    """A list, or a page of one."""
    shaper = call.shaper()
    return shaper.many(await call.kept.lister.list(parameters.list_options(call)))
