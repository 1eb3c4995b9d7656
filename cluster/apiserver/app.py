"""From a request to an answer: who asks, may they, what for, and what went wrong."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cluster.apiserver import deadlines, errors, routing
from cluster.apiserver.aggregation.aggregation import Aggregation
from cluster.apiserver.authn import impersonation
from cluster.apiserver.authn.user import User
from cluster.apiserver.authz import attributes
from cluster.apiserver.context import Call, Context, Kept
from cluster.apiserver.fairness import dispatcher
from cluster.apiserver.fairness.dispatcher import FREE, Ticket
from cluster.apiserver.handlers import (
    binding,
    connecting,
    deleting,
    eviction,
    logs,
    patching,
    proxying,
    reading,
    scaling,
    tokens,
    watching,
    writing,
)
from cluster.apiserver.http.messages import Headers, Request, Response, Stream
from cluster.apiserver.proxying import messages
from cluster.apiserver.routing import Target
from cluster.apiserver.security import Security
from cluster.machinery import fencing, status
from cluster.machinery.apiservices import ApiService

MAX_WARNING_CHARS = 256
Page = Callable[[Request], Response | None]
Handler = Callable[[Call], Awaitable[Response | None]]

HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "get"): reading.get,
    ("", "list"): reading.list_,
    ("", "watch"): watching.watch,
    ("", "create"): writing.create,
    ("", "update"): writing.update,
    ("", "patch"): patching.patch,
    ("", "delete"): deleting.delete,
    ("", "deletecollection"): deleting.delete_collection,
    ("status", "get"): reading.get,
    ("status", "update"): writing.update,
    ("status", "patch"): patching.patch,
    ("scale", "get"): scaling.get,
    ("scale", "update"): scaling.update,
    ("scale", "patch"): scaling.patch,
    ("finalize", "update"): writing.update,
    **{
        (subresource, verb): handler
        for subresource in ("approval", "ephemeralcontainers", "resize")
        for verb, handler in (
            ("get", reading.get),
            ("update", writing.update),
            ("patch", patching.patch),
        )
    },
    ("binding", "create"): binding.bind,
    ("eviction", "create"): eviction.evict,
    ("log", "get"): logs.logs,
    ("token", "create"): tokens.request,
    **{
        (subresource, verb): handler
        for subresource, handler in (
            ("attach", connecting.attach),
            ("exec", connecting.execute),
            ("portforward", connecting.port_forward),
        )
        for verb in ("get", "create")
    },
}
CONNECTS = frozenset({"attach", "exec", "portforward", "proxy"})
"""Subresources that pass a connection on. They may go on for hours, so nothing limits them."""
STREAMING = frozenset({("", "watch"), ("log", "get")})
CONNECTED = CONNECTS | {"log"}
"""Subresources whose answers go on, whoever serves them."""
ON_COLLECTIONS = frozenset({"list", "create", "deletecollection"})
BINDINGS = "v1/bindings"
PODS = "v1/pods"
DESCRIPTIONS = ("/api", "/openapi")
"""Paths that tell what is served."""
ALWAYS = ("/livez", "/readyz", "/healthz", "/metrics", "/version")
"""Paths that are answered before the server knows any object."""


class Question(Protocol):
    """A resource that is answered at once: a review, a status that is made up."""

    def has(self, target: Target) -> bool: ...

    async def answer(self, request: Request, target: Target, user: User) -> Response: ...


class App:
    """`pages` answer paths that are not resources, each None for what is not theirs; `questions`
    are resources that are never kept."""

    def __init__(
        self,
        context: Context,
        security: Security,
        pages: Sequence[Page],
        questions: Sequence[Question],
        aggregation: Aggregation,
    ) -> None:
        self._context, self._security, self._pages = context, security, tuple(pages)
        self._questions, self._aggregation = tuple(questions), aggregation

    async def handle(self, request: Request) -> Response | None:
        """Never raises, except for cancellation."""
        clock = self._context.seams.clock
        started_s = clock.now()
        target = routing.parse(request.method, request.path, request.flag)
        try:
            response = await self._answer(request, target)
        except Exception as error:
            response = errors.to_response(errors.to_api_error(error), request)
        if request.audit is not None:
            request.audit.complete(response)
            await request.audit.settled()
        verb = target.verb if target else request.method.lower()
        resource = target.plural if target and target.resource_key in self._context.kept else ""
        code = response.status if response is not None else 200
        self._context.metrics.observe(verb, resource, code, clock.now() - started_s)
        return None if response is None else _finished(request, response)

    async def _answer(self, request: Request, target: Target | None) -> Response | None:
        if not self._context.feed.loaded and not request.path.startswith(ALWAYS):
            raise _starting()
        user, asked = await self._permitted(request, target)
        if target is not None and target.subresource in CONNECTS:
            return await self._served(request, target, user, FREE)
        ticket = await self._security.fairness.enter(asked, self._width(target))
        request.answer_headers.update(ticket.headers)
        try:
            return await self._served(request, target, user, ticket)
        finally:
            ticket.leave()

    def _width(self, target: Target | None) -> int:
        """How many seats a request takes: a list as many as it is long."""
        if target is None or target.verb not in ("list", "watch", "deletecollection"):
            return 1
        kept = self._context.kept.get(target.resource_key)
        return 1 if kept is None else dispatcher.width(len(kept.registry.cache))

    async def _served(
        self, request: Request, target: Target | None, user: User, ticket: Ticket
    ) -> Response | None:
        owner = await self._aggregation.owner(request.path)
        if owner is not None:
            return await self._forward(request, target, user, ticket, owner)
        if target is None:
            if request.path.startswith(DESCRIPTIONS):
                await self._context.catalogue.settled()
            return self._page(request)
        for each in self._questions:
            if each.has(target):
                return await each.answer(request, target, user)
        return await self._resource(request, target, user, ticket)

    async def _permitted(
        self, request: Request, target: Target | None
    ) -> tuple[User, attributes.Attributes]:
        """Who asks, or whom they act as; 401 or 403 if they may not."""
        security = self._security
        user = await self._identified(request, target)
        asked = attributes.of_request(user, request, target)
        await self._note(request, asked)
        if impersonation.wanted(request):
            user = await impersonation.impersonated(request, user, security.authorizer)
            if request.audit is not None:
                request.audit.acting_as(user)
            asked = attributes.of_request(user, request, target)
        for demanded in attributes.demanded(asked):
            decision = await security.authorizer.decide(demanded)
            if request.audit is not None:
                request.audit.decided(decision)
            if not decision.allowed:
                raise attributes.refusal(demanded, decision.reason)
        return user, asked

    async def _identified(self, request: Request, target: Target | None) -> User:
        try:
            return await self._security.authenticator.identify(request)
        except status.ApiError:
            await self._note(request, attributes.of_request(User(""), request, target))
            raise

    async def _note(self, request: Request, asked: attributes.Attributes) -> None:
        """Begin to audit the request, if there is an audit log and it wants it."""
        auditor = self._security.auditor
        request.audit = None if auditor is None else auditor.begin(request, asked)
        if request.audit is not None:
            await request.audit.settled()

    def _page(self, request: Request) -> Response:
        for page in self._pages:
            response = page(request)
            if response is None:
                continue
            if request.method not in ("GET", "HEAD"):
                raise status.failure(
                    405, "MethodNotAllowed", "the server does not allow this method"
                )
            return response
        raise status.path_not_found()

    async def _resource(
        self, request: Request, target: Target, user: User, ticket: Ticket
    ) -> Response | None:
        handler, kept = await self._find(target)
        if kept.warning:
            request.warnings.append(kept.warning)
        call = Call(self._context, request, target, _fenced(kept, request), user)
        if target.subresource in CONNECTS:
            if request.audit is not None:
                request.audit.watch_stream()
            return await handler(call)
        if (target.subresource, target.verb) in STREAMING:
            if request.audit is not None:
                request.audit.watch_stream()
            _leave_with_stream(request, ticket)
            return await handler(call)
        async with asyncio.timeout(deadlines.allowed_s(request)):
            return await handler(call)

    async def _forward(
        self,
        request: Request,
        target: Target | None,
        user: User,
        ticket: Ticket,
        service: ApiService,
    ) -> Response | None:
        """Another server answers. What may go on for hours has no limit of time."""
        forward = self._aggregation.forward
        below = "" if target is None else target.subresource.partition("/")[0]
        watching = target is not None and target.verb == "watch"
        if watching or below in CONNECTED or messages.upgrade_of(request.headers):
            if request.audit is not None:
                request.audit.watch_stream()
            _leave_with_stream(request, ticket)
            return await forward(request, service, user, long=True)
        async with asyncio.timeout(deadlines.allowed_s(request)):
            return await forward(request, service, user, long=False)

    async def _find(self, target: Target) -> tuple[Handler, Kept]:
        """404 for what does not exist, 405 for what cannot be done to it."""
        if target.resource_key == BINDINGS and not target.name and target.verb == "create":
            return binding.bind, self._context.find(PODS)
        kept = await self._context.catalogue.find(target.resource_key)
        if kept is None or not self._has(kept, target):
            raise status.path_not_found()
        handler = HANDLERS.get((target.subresource, target.verb))
        if target.subresource == "proxy":
            handler = proxying.proxy
        if handler is None or not self._placed(kept, target):
            raise status.failure(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
                {"kind": target.plural, "group": target.group},
            )
        return handler, kept

    def _has(self, kept: Kept, target: Target) -> bool:
        named_without_namespace = kept.resource.namespaced and target.name and not target.namespace
        namespaced = bool(target.namespace) and target.plural != "namespaces"
        if named_without_namespace or (namespaced and not kept.resource.namespaced):
            return False
        return not target.subresource or kept.resource.subresource(target.subresource) is not None

    def _placed(self, kept: Kept, target: Target) -> bool:
        """Whether the verb suits a path with, or without, a name and a namespace."""
        if target.subresource or target.verb == "watch":
            return True
        if (target.verb in ON_COLLECTIONS) == bool(target.name):
            return False
        across = kept.resource.namespaced and not target.namespace
        return not across or target.verb == "list"


def _finished(request: Request, response: Response) -> Response:
    headers = {**request.answer_headers, **response.headers}
    headers.setdefault("Cache-Control", "no-cache, private")
    if request.audit is not None:
        headers["Audit-Id"] = request.audit.id
    if request.warnings:
        headers["Warning"] = ", ".join(f'299 - "{_quoted(w)}"' for w in request.warnings)
    return dataclasses.replace(response, headers=headers)


def _starting() -> status.ApiError:
    """Neither rights nor objects are known yet: nothing that is said now would be true."""
    error = status.service_unavailable("the server is starting")
    error.status["details"] = {"retryAfterSeconds": errors.RETRY_AFTER_S}
    return error


def _leave_with_stream(request: Request, ticket: Ticket) -> None:
    """A watch holds its seats until its answer begins."""
    opened = request.open_stream

    def open_stream(status: int, headers: Headers) -> Stream:
        ticket.leave()
        return opened(status, {**request.answer_headers, **headers})

    request.open_stream = open_stream


def _quoted(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text[:MAX_WARNING_CHARS])
    return printable.replace("\\", "\\\\").replace('"', '\\"')


def _fenced(kept: Kept, request: Request) -> Kept:
    """As a leader may write to it whose request names the term that it leads; 400 for no term."""
    named = request.headers.get(fencing.HEADER.lower())
    if named is None:
        return kept
    try:
        fence = fencing.Fence.parse(named)
    except ValueError as error:
        raise status.bad_request(f"{fencing.HEADER}: {error}") from error
    return dataclasses.replace(kept, registry=kept.registry.fenced(fence))
