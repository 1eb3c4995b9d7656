"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: asking servers outside."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.seams import Seams
from cluster.apiserver.admission import admission_review, evaluation, matching, reinvocation
from cluster.apiserver.admission.admission_review import Answer, BadAnswer
from cluster.apiserver.admission.chain import Review
from cluster.apiserver.admission.evaluation import Conditions, Evaluation
from cluster.apiserver.admission.matching import Matcher
from cluster.apiserver.admission.registered import Registered
from cluster.apiserver.admission.reinvocation import Invoked
from cluster.apiserver.admission.versions import CONVERTED, Shown, Versions
from cluster.apiserver.authz.attributes import Authorizer
from cluster.apiserver.webhooks import WebhookClient, WebhookError
from cluster.machinery import status
from cluster.machinery.cel import CelError
from cluster.machinery.codec import json_codec
from cluster.machinery.errors import BadRequest, PatchError
from cluster.machinery.kinds import Kind
from cluster.machinery.patch import json_patch
from cluster.machinery.resources import Resource
from cluster.storage.cache import ResourceCache

Object = dict[str, Any]
FindForm = Callable[[Resource], Kind | None]
DEFAULT_TIMEOUT_S = 10
SAFE = ("None", "NoneOnDryRun")
MUTATING = "mutation.webhook.admission.k8s.io"
VALIDATING = "validating.webhook.admission.k8s.io"


@dataclass(frozen=True)
class Hook:
    """One webhook of a configuration; `index` counts those of its configuration."""

    configuration: str
    index: int
    raw: Mapping[str, Any]
    matcher: Matcher
    conditions: Conditions

    @property
    def name(self) -> str:
        return str(self.raw["name"])

    @property
    def fails(self) -> bool:
        """Whether a write is refused when the webhook does not answer."""
        return bool(self.raw.get("failurePolicy", "Fail") != "Ignore")


def hooks(configuration: Object) -> Sequence[Hook]:
    name = configuration["metadata"]["name"]
    return [
        Hook(name, index, raw, matching.matcher(raw), evaluation.conditions(raw))
        for index, raw in enumerate(configuration.get("webhooks") or ())
    ]


@dataclass(frozen=True)
class Parts:
    """What both plugins need."""

    seams: Seams
    client: WebhookClient
    authorizer: Authorizer
    versions: Versions
    find_form: FindForm


class Caller:
    """Decides whether a hook is asked, asks it, and says what its failure means."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def wanted(self, hook: Hook, review: Review) -> Shown | None:
        """What to send, in which version; None if the hook is not about this write."""
        versions = self._parts.versions
        form = await hook.matcher.match(review, versions)
        if form is None:
            return None
        shown = await versions.shown(review, form)
        if not hook.conditions.named:
            return shown
        try:
            held = await hook.conditions.hold(Evaluation(review, self._parts.authorizer, shown))
        except CelError as error:
            if hook.fails:
                raise status.forbidden(review.resource, review.name, str(error)) from error
            return None
        return shown if held else None

    async def ask(self, hook: Hook, review: Review, shown: Shown, mutating: bool) -> Answer:
        """An answer that allows. Raises ApiError for one that does not, or for none at all.

        A hook that fails and may be ignored allows.
        """
        if review.dry_run and hook.raw.get("sideEffects") not in SAFE:
            text = f'admission webhook "{hook.name}" does not support dry run'
            raise status.bad_request(text)
        try:
            answer = await self._call(hook, review, shown, mutating)
        except (WebhookError, BadAnswer) as error:
            return self._failed(hook, review, str(error), mutating)
        for warning in answer.warnings:
            review.warn(warning)
        for key, value in answer.annotations.items():
            review.annotations[f"{hook.name}/{key}"] = str(value)
        if not answer.allowed:
            raise admission_review.refusal(hook.name, answer.status)
        return answer

    async def _call(self, hook: Hook, review: Review, shown: Shown, mutating: bool) -> Answer:
        uid = str(uuid.UUID(int=self._parts.seams.randomness.getrandbits(128), version=4))
        body = admission_review.request(review, shown, uid)
        timeout_s = float(hook.raw.get("timeoutSeconds") or DEFAULT_TIMEOUT_S)
        try:
            answer = await self._parts.client.call(hook.raw["clientConfig"], body, timeout_s)
        except WebhookError as error:
            raise WebhookError(f"failed to call webhook: {error}") from error
        try:
            return admission_review.read(answer, uid, may_patch=mutating)
        except BadAnswer as error:
            text = f"received invalid webhook response: {error}"
            raise BadAnswer(text) from error

    def _failed(self, hook: Hook, review: Review, why: str, mutating: bool) -> Answer:
        if hook.fails:
            raise status.internal_error(f'failed calling webhook "{hook.name}": {why}')
        kind = MUTATING if mutating else VALIDATING
        place = f"round_{int(review.rounds.second)}_index_{hook.index}"
        review.annotations[f"failed-open.{kind}/{place}"] = hook.name
        return Answer(allowed=True)


class ValidatingWebhooks:
    """An admission plugin: all hooks are asked at once, the first refusal in order is told."""

    def __init__(self, cache: ResourceCache, parts: Parts) -> None:
        self._registered = Registered(cache, hooks)
        self._caller = Caller(parts)

    async def __call__(self, review: Review) -> None:
        configurations = self._registered.all
        if not configurations or matching.exempt(review.resource):
            return
        wanted = [
            (hook, shown)
            for found in configurations
            for hook in found
            if (shown := await self._caller.wanted(hook, review)) is not None
        ]
        if not wanted:
            return
        asked = [self._caller.ask(hook, review, shown, False) for hook, shown in wanted]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


class MutatingWebhooks:
    """An admission plugin: hooks are asked in order, each with what the one before has made."""

    def __init__(self, cache: ResourceCache, parts: Parts) -> None:
        self._registered = Registered(cache, hooks)
        self._caller, self._parts = Caller(parts), parts

    async def __call__(self, review: Review) -> None:
        configurations = self._registered.all
        if not configurations or matching.exempt(review.resource):
            return
        invoked = reinvocation.begin(review, MUTATING)
        for found in configurations:
            for hook in found:
                await self._invoke(hook, review, invoked)
        invoked.end(review)

    async def _invoke(self, hook: Hook, review: Review, invoked: Invoked) -> None:
        key = (hook.configuration, hook.index)
        if invoked.skips(review, key):
            return
        shown = await self._caller.wanted(hook, review)
        if shown is None:
            return
        answer = await self._caller.ask(hook, review, shown, True)
        changed = bool(answer.patch) and await self._change(hook, review, shown, answer.patch)
        self._note(hook, review, changed)
        needed = hook.raw.get("reinvocationPolicy") == "IfNeeded"
        invoked.note(review, key, changed=changed, if_needed=needed)

    async def _change(self, hook: Hook, review: Review, shown: Shown, patch: list[Object]) -> bool:
        """Apply a patch to the object; whether it is another one then."""
        if review.new is None:
            return False
        try:
            patched = json_patch.apply(shown.new, patch)
            if not isinstance(patched, dict):
                raise PatchError("the patched document is not an object")
            new = await self._conformed(review, patched)
        except (PatchError, BadRequest, KeyError) as error:
            text = f'admission webhook "{hook.name}" returned a patch that cannot be applied'
            raise status.internal_error(f"{text}: {error}") from error
        changed = bool(new != review.new)
        if changed:
            review.new.clear()
            review.new.update(new)
        return changed

    async def _conformed(self, review: Review, patched: Object) -> Object:
        """As the resource's own version, pruned and with defaults. Raises BadRequest."""
        if review.subresource in CONVERTED and patched.get("apiVersion"):
            patched = await self._parts.versions.converted(patched, review.resource) or patched
            form = self._parts.find_form(review.resource)
            if form is not None:
                wrong = form.check_types(patched)
                if wrong:
                    raise BadRequest(wrong[0])
                form.prune(patched)
                form.default(patched)
        return patched

    def _note(self, hook: Hook, review: Review, changed: bool) -> None:
        place = f"round_{int(review.rounds.second)}_index_{hook.index}"
        told = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
        review.annotations[f"{MUTATING}/{place}"] = json_codec.encode(told).decode()
