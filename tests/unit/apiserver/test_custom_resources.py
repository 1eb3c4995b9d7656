"""Definitions and their objects through several API servers, webhooks and controllers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from api_fixture import SERVICE_CIDR, Authority
from webhook_fixture import WebhookServer, patch

from actors.seams import system_seams
from cluster.apiserver.server import ApiServer
from cluster.client import Client, ClientConfig
from cluster.controllers.manager import ControllerManager
from cluster.storage import encoding
from raftstore.testing import MemoryStore

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/example.com/v1/namespaces/default/things"
OPEN = {"type": "object", "properties": {
    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}  # fmt: skip


def version(name: str, storage: bool = False, **more: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": more.pop("schema", OPEN)}
    return {"name": name, "served": True, "storage": storage, "schema": schema, **more}


def definition(plural: str = "things", *versions: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": plural[:-1].title()},
            "versions": list(versions) or [version("v1", storage=True)],
            **spec,
        },
    }


def thing(name: str, api_version: str = "example.com/v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": "Thing", "metadata": {"name": name}, "spec": spec}


class Server:
    """One API server and a client of it."""

    def __init__(self, server: ApiServer, client: Client) -> None:
        self.server, self.client = server, client

    async def ask(self, method: str, path: str, obj: Any = None, **headers: str) -> tuple[int, Any]:
        body = None if obj is None else json.dumps(obj).encode()
        sent = {"Content-Type": headers.pop("content_type", "application/json"), **headers}
        answer = await self.client.raw(method, path, body=body, headers=sent)
        return answer.status, json.loads(answer.body)

    async def must(self, method: str, path: str, obj: Any = None, **headers: str) -> Any:
        code, found = await self.ask(method, path, obj, **headers)
        assert code < 300, found.get("message", found)
        return found

    async def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """Ask until it holds; the caller bounds the time."""
        while True:
            _, found = await self.ask("GET", path)
            if holds(found):
                return found
            await asyncio.sleep(0.02)

    async def established(self, crd: dict[str, Any]) -> None:
        await self.must("POST", DEFINITIONS, crd)
        path = f"{DEFINITIONS}/{crd['metadata']['name']}"
        await self.until(path, lambda found: condition(found, "Established") == "True")


def condition(crd: Any, type_: str) -> str:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return next((c["status"] for c in conditions if c["type"] == type_), "")


@contextlib.asynccontextmanager
async def servers(folder: Path, count: int = 1) -> AsyncIterator[list[Server]]:
    authority = Authority(folder)
    tls = authority.issue("kube-apiserver", server=True)
    admin = authority.issue("admin", ["system:masters"])
    store = MemoryStore()
    started: list[Server] = []
    try:
        for _ in range(count):
            server = ApiServer(store)
            config = {"name": "a", "address": "127.0.0.1:0", "tls": tls}
            await server.start(system_seams(), {**config, "service_cidr": SERVICE_CIDR})
            while not (await server.health()).ready:
                await asyncio.sleep(0.01)
            url = f"https://{server.address}"
            client = Client(
                ClientConfig((url,), admin["ca"], admin["cert"], admin["key"]), system_seams()
            )
            started.append(Server(server, client))
        yield started
    finally:
        for each in started:
            await each.client.close()
            await each.server.stop()


def run(body: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await body

    asyncio.run(bounded())


def test_what_one_server_established_every_server_serves_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path, 3) as (one, two, three):
            for number in range(5):
                crd = definition(f"thing{number}s")
                await one.established(crd)
                path = f"/apis/example.com/v1/namespaces/default/thing{number}s"
                await two.must("POST", path, {"metadata": {"name": "a"}})
                found = await three.must("GET", f"{path}/a")
                assert found["kind"] == f"Thing{number}"
                groups = await two.must("GET", "/apis/example.com/v1")
                assert f"thing{number}s" in [r["name"] for r in groups["resources"]]

    run(main())


def test_the_most_stable_version_of_a_group_is_preferred_whoever_came_first(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with servers(tmp_path) as (api,):
            await api.established(definition("olds", version("v1beta1", True)))
            await api.established(definition("news", version("v1", True), version("v2alpha1")))
            group = await api.must("GET", "/apis/example.com")
            assert [v["version"] for v in group["versions"]] == ["v1", "v1beta1", "v2alpha1"]
            assert group["preferredVersion"]["version"] == "v1"

    run(main())


def test_a_definition_that_cannot_be_used_holds_up_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path) as (api,):
            await api.established(definition("goods"))
            path = f"{DEFINITIONS}/goods.example.com"
            stored = await api.must("GET", path)
            store = api.server._given_store
            assert store is not None
            stored["metadata"]["name"] = "bads.example.com"
            stored["spec"]["names"] = {"plural": "bads", "kind": "Bad"}
            stored["status"]["acceptedNames"] = stored["spec"]["names"]
            schema = stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            schema["x-kubernetes-validations"] = [{"rule": "a future language"}]
            key = b"/registry/apiextensions.k8s.io/customresourcedefinitions/bads.example.com"
            await store.put(key, encoding.encode(stored))
            assert (await api.ask("GET", "/apis/example.com/v1/bads"))[0] == 404
            await api.established(definition())
            await api.must("POST", THINGS, thing("a"))

    run(main())


def test_a_list_is_called_what_the_definition_says(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path) as (api,):
            crd = definition()
            crd["spec"]["names"]["listKind"] = "Things"
            await api.established(crd)
            assert (await api.must("GET", THINGS))["kind"] == "Things"
            document = await api.must("GET", "/openapi/v3/apis/example.com/v1")
            assert "com.example.v1.Things" in document["components"]["schemas"]

    run(main())


def test_two_servers_never_give_one_name_to_two_definitions(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path, 2) as (one, two):
            for number in range(8):
                names = {"kind": f"Same{number}"}
                crds = [definition(f"{p}{number}s") for p in ("a", "b")]
                for crd in crds:
                    crd["spec"]["names"] |= names
                await asyncio.gather(*(s.must("POST", DEFINITIONS, c)
                                       for s, c in zip((one, two), crds, strict=True)))  # fmt: skip
                paths = [f"{DEFINITIONS}/{crd['metadata']['name']}" for crd in crds]
                decided = [await one.until(p, lambda f: condition(f, "NamesAccepted") != "")
                           for p in paths]  # fmt: skip
                while True:  # whoever lost a race is decided again once it has seen the winner
                    accepted = sorted(condition(crd, "NamesAccepted") for crd in decided)
                    if accepted == ["False", "True"]:
                        break
                    assert accepted != ["True", "True"]
                    decided = [await one.must("GET", p) for p in paths]

    run(main())


def test_nothing_is_created_behind_a_deletion_that_another_server_carries_out(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with servers(tmp_path, 2) as (one, two):
            await one.established(definition())
            created = 0

            async def create() -> None:
                nonlocal created
                for number in range(10_000):
                    code, found = await two.ask("POST", THINGS, thing(f"t{number}"))
                    if code != 201:
                        assert code in (404, 405), found
                        return
                    created += 1

            creating = asyncio.create_task(create())
            while created < 20:
                await asyncio.sleep(0.001)
            await one.must("DELETE", f"{DEFINITIONS}/things.example.com")
            await creating
            await one.until(f"{DEFINITIONS}/things.example.com", lambda f: f.get("code") == 404)
            await one.established(definition())
            for each in (one, two):
                assert (await each.must("GET", THINGS))["items"] == []

    run(main())


def test_an_object_with_a_finalizer_holds_the_deletion_of_its_definition(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path) as (api,):
            await api.established(definition())
            held = thing("held")
            held["metadata"]["finalizers"] = ["example.com/hold"]
            await api.must("POST", THINGS, held)
            await api.must("DELETE", f"{DEFINITIONS}/things.example.com")
            await api.until(f"{THINGS}/held", lambda f: "deletionTimestamp" in f["metadata"])
            crd = await api.must("GET", f"{DEFINITIONS}/things.example.com")
            assert condition(crd, "Terminating") == "True"
            code, said = await api.ask("POST", THINGS, thing("late"))
            assert (code, said["message"]) == (
                405, "create not allowed while custom resource definition is terminating"
            )  # fmt: skip
            patch = {"metadata": {"finalizers": None}}
            merge = "application/merge-patch+json"
            await api.must("PATCH", f"{THINGS}/held", patch, content_type=merge)
            await api.until(f"{DEFINITIONS}/things.example.com", lambda f: f.get("code") == 404)

    run(main())


# -- conversion ----------------------------------------------------------------------------------


class Webhook:
    """A conversion webhook: v1 has spec.both "a-b", v2 has spec.first and spec.second."""

    def __init__(self, authority: Authority) -> None:
        files = authority.issue("webhook", server=True, dns="hook.default.svc")
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(files["cert"], files["key"])
        self.ca = base64.b64encode(Path(files["ca"]).read_bytes()).decode()
        self.calls: list[int] = []
        self.broken = ""
        self.host, self.port = "127.0.0.1", 0

    async def __aenter__(self) -> Webhook:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    def config(self) -> dict[str, Any]:
        client = {"url": f"https://127.0.0.1:{self.port}/convert", "caBundle": self.ca}
        webhook = {"clientConfig": client, "conversionReviewVersions": ["v1"]}
        return {"strategy": "Webhook", "webhook": webhook}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                answer = self._convert(json.loads(await reader.readexactly(length)))
                body = json.dumps(answer).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        writer.close()

    def _convert(self, review: dict[str, Any]) -> dict[str, Any]:
        request = review["request"]
        self.calls.append(len(request["objects"]))
        response: dict[str, Any] = {"uid": request["uid"]}
        if self.broken:
            response["result"] = {"status": "Failure", "message": self.broken}
        else:
            wanted = request["desiredAPIVersion"]
            response["result"] = {"status": "Success"}
            response["convertedObjects"] = [converted(o, wanted) for o in request["objects"]]
        return {"kind": review["kind"], "apiVersion": review["apiVersion"], "response": response}


def converted(obj: dict[str, Any], wanted: str) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    if wanted.endswith("v2"):
        first, _, second = spec["both"].partition("-")
        return {**obj, "apiVersion": wanted, "spec": {"first": first, "second": second}}
    return {**obj, "apiVersion": wanted, "spec": {"both": f"{spec['first']}-{spec['second']}"}}


def test_what_asks_for_one_version_sees_the_writes_to_all_in_that_one(tmp_path: Path) -> None:
    """matchPolicy Equivalent: webhooks and policies are shown the object as they know it."""
    v2 = THINGS.replace("v1", "v2")
    rule = {"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v2"],
            "resources": ["things"]}  # fmt: skip
    group = "/apis/admissionregistration.k8s.io/v1"

    async def main() -> None:
        folder = tmp_path / "hooks"
        folder.mkdir()
        authority = Authority(folder)
        hooks = WebhookServer(authority)
        change = {"op": "replace", "path": "/spec/first", "value": "changed"}
        hooks.answers["change"] = lambda request: patch(change)
        async with servers(tmp_path) as (api,), Webhook(authority) as webhook:
            await api.established(
                definition(
                    "things", version("v1", True), version("v2"), conversion=webhook.config()
                )
            )
            hook = {"name": "change.example.com", "rules": [rule], "sideEffects": "None",
                    "clientConfig": hooks.client_config("change"),
                    "admissionReviewVersions": ["v1"]}  # fmt: skip
            mutating = {"metadata": {"name": "change"}, "webhooks": [hook]}
            await api.must("POST", f"{group}/mutatingwebhookconfigurations", mutating)
            checks = [{"expression": "object.spec.second != 'bad' && request.kind.version == 'v2'"
                                     " && request.requestKind.version == 'v1'"}]  # fmt: skip
            spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": checks}
            policy = {"metadata": {"name": "good"}, "spec": spec}
            await api.must("POST", f"{group}/validatingadmissionpolicies", policy)
            binding = {"metadata": {"name": "good"},
                       "spec": {"policyName": "good", "validationActions": ["Deny"]}}  # fmt: skip
            await api.must("POST", f"{group}/validatingadmissionpolicybindings", binding)
            made = await api.must("POST", THINGS, thing("old", both="a-b"))
            assert (made["apiVersion"], made["spec"]) == ("example.com/v1", {"both": "changed-b"})
            (seen,) = hooks.reviews("change")
            assert seen["object"]["spec"] == {"first": "a", "second": "b"}
            assert seen["kind"]["version"] == "v2"
            assert seen["requestKind"]["version"] == "v1"
            code, answer = await api.ask("POST", THINGS, thing("bad", both="a-bad"))
            assert code == 422, answer
            assert (await api.must("GET", f"{v2}/old"))["spec"]["first"] == "changed"
        hooks.close()

    asyncio.run(main())


def test_versions_are_converted_by_the_webhook_for_every_verb(tmp_path: Path) -> None:
    v2 = THINGS.replace("v1", "v2")

    async def main() -> None:
        async with servers(tmp_path) as (api,), Webhook(Authority(tmp_path)) as webhook:
            columns = [{"name": "First", "type": "string", "jsonPath": ".spec.first"}]
            text = {"type": "string"}
            spec = {"type": "object", "properties": {"first": text, "second": text}}
            schema = {"type": "object", "properties": {"spec": spec}}
            newer = version("v2", schema=schema, additionalPrinterColumns=columns,
                            selectableFields=[{"jsonPath": ".spec.first"}])  # fmt: skip
            await api.established(
                definition("things", version("v1", True), newer, conversion=webhook.config())
            )
            await api.must("POST", THINGS, thing("old", both="a-b"))
            await api.must("POST", v2, thing("new", "example.com/v2", first="c", second="d"))
            assert (await api.must("GET", f"{v2}/old"))["spec"] == {"first": "a", "second": "b"}
            assert (await api.must("GET", f"{THINGS}/new"))["spec"] == {"both": "c-d"}
            listed = await api.must("GET", v2)
            assert [i["apiVersion"] for i in listed["items"]] == ["example.com/v2"] * 2
            chosen = await api.must("GET", f"{v2}?fieldSelector=spec.first%3Da")
            assert [i["metadata"]["name"] for i in chosen["items"]] == ["old"]
            table = "application/json;as=Table;g=meta.k8s.io;v=v1"
            rows = (await api.must("GET", v2, Accept=table))["rows"]
            assert [row["cells"] for row in rows] == [["new", "c"], ["old", "a"]]
            merge = "application/merge-patch+json"
            patched = {"spec": {"second": "z"}}
            await api.must("PATCH", f"{v2}/old", patched, content_type=merge)
            assert (await api.must("GET", f"{THINGS}/old"))["spec"] == {"both": "a-z"}
            await api.must("DELETE", f"{v2}/old")
            assert (await api.ask("GET", f"{THINGS}/old"))[0] == 404
            events = await watched(api, v2, listed["metadata"]["resourceVersion"])
            assert [(e["type"], e["object"]["spec"]["second"]) for e in events] == [
                ("MODIFIED", "z"), ("DELETED", "z"),
            ]  # fmt: skip

    run(main())


async def watched(api: Server, path: str, revision: str) -> list[Any]:
    target = f"{path}?watch=1&resourceVersion={revision}&timeoutSeconds=1"
    answer = await api.client.raw("GET", target)
    return [json.loads(line) for line in answer.body.splitlines()]


def test_a_webhook_that_fails_is_named_and_holds_up_its_version_alone(tmp_path: Path) -> None:
    v2 = THINGS.replace("v1", "v2")

    async def main() -> None:
        async with servers(tmp_path) as (api,), Webhook(Authority(tmp_path)) as webhook:
            crd = definition(
                "things", version("v1", True), version("v2"), conversion=webhook.config()
            )
            await api.established(crd)
            webhook.broken = "out of order"
            await api.must("POST", THINGS, thing("a", both="a-b"))
            code, said = await api.ask("GET", f"{v2}/a")
            wanted = "conversion webhook for example.com/v1, Kind=Thing failed: out of order"
            assert (code, said["message"]) == (500, wanted)
            assert (await api.must("GET", f"{THINGS}/a"))["spec"] == {"both": "a-b"}
            await api.must("GET", "/api/v1/namespaces/default")
            webhook.broken = ""
            found = await api.until(f"{v2}/a", lambda f: "spec" in f)
            assert found["spec"] == {"first": "a", "second": "b"}

    run(main())


def test_a_webhook_is_reached_through_its_service_under_its_name(tmp_path: Path) -> None:
    async def main() -> None:
        webhook = Webhook(Authority(tmp_path))
        webhook.host = "127.99.0.77"  # what a proxy would lead to: here it listens there itself
        async with servers(tmp_path) as (api,), webhook:
            ports = [{"port": webhook.port}]
            service = {"metadata": {"name": "hook"},
                       "spec": {"clusterIP": webhook.host, "ports": ports}}  # fmt: skip
            conversion = webhook.config()
            client = conversion["webhook"]["clientConfig"]
            del client["url"]
            client["service"] = {"namespace": "default", "name": "hook", "port": webhook.port}
            crd = definition("things", version("v1", True), version("v2"), conversion=conversion)
            await api.established(crd)
            await api.must("POST", THINGS, thing("a", both="a-b"))
            path = THINGS.replace("v1", "v2") + "/a"
            code, said = await api.ask("GET", path)
            assert code == 500
            assert said["message"].endswith('failed: services "hook" not found')
            await api.must("POST", "/api/v1/namespaces/default/services", service)
            found = await api.until(path, lambda f: "spec" in f)
            assert found["spec"] == {"first": "a", "second": "b"}

    run(main())


def test_a_webhook_may_not_change_what_identifies_an_object(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path) as (api,), Webhook(Authority(tmp_path)) as webhook:
            crd = definition(
                "things", version("v1", True), version("v2"), conversion=webhook.config()
            )
            await api.established(crd)
            plain = webhook._convert

            def renaming(review: dict[str, Any]) -> dict[str, Any]:
                answer = plain(review)
                for obj in answer["response"]["convertedObjects"]:
                    obj["metadata"] = {**obj["metadata"], "name": "other"}
                return answer

            webhook._convert = renaming  # type: ignore[method-assign]
            await api.must("POST", THINGS, thing("a", both="a-b"))
            code, said = await api.ask("GET", THINGS.replace("v1", "v2") + "/a")
            assert code == 500
            assert "must have the same name: 'other' != 'a'" in said["message"]

    run(main())


def test_the_storage_version_can_be_moved_and_old_objects_stay_readable(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path) as (api,):
            path = f"{DEFINITIONS}/things.example.com"
            await api.established(definition("things", version("v1", True), version("v2")))
            await api.must("POST", THINGS, thing("old", a=1))
            crd = await api.must("GET", path)
            crd["spec"]["versions"] = [version("v1"), version("v2", True)]
            crd = await api.must("PUT", path, crd)
            assert crd["status"]["storedVersions"] == ["v1", "v2"]
            found = await api.must("GET", THINGS.replace("v1", "v2") + "/old")
            assert (found["apiVersion"], found["spec"]) == ("example.com/v2", {"a": 1})
            crd["spec"]["versions"] = [version("v2", True)]
            code, said = await api.ask("PUT", path, crd)
            assert code == 422
            assert "v1 was previously a storage version, and must remain" in said["message"]
            revision = found["metadata"]["resourceVersion"]
            found = await api.must("PUT", THINGS.replace("v1", "v2") + "/old", found)
            assert found["metadata"]["resourceVersion"] != revision  # now it is stored as v2
            crd = await api.must("GET", path)
            crd["status"]["storedVersions"] = ["v2"]
            crd = await api.must("PUT", f"{path}/status", crd)
            crd["spec"]["versions"] = [version("v2", True)]
            await api.must("PUT", path, crd)
            assert (await api.ask("GET", f"{THINGS}/old"))[0] == 404
            again = await api.must("GET", THINGS.replace("v1", "v2") + "/old")
            assert again["spec"] == {"a": 1}

    run(main())


# -- controllers ---------------------------------------------------------------------------------


def test_owners_and_namespaces_take_custom_resources_with_them(tmp_path: Path) -> None:
    async def main() -> None:
        async with servers(tmp_path) as (api,):
            await api.established(definition())
            await api.must("POST", "/api/v1/namespaces", {"metadata": {"name": "gone"}})
            inside = THINGS.replace("default", "gone")
            await api.must("POST", inside, thing("inside"))
            beta = definition("olds", version("v1beta1", True))  # not in the preferred version
            await api.established(beta)
            older = "/apis/example.com/v1beta1/namespaces/gone/olds"
            await api.must("POST", older, {"metadata": {"name": "old"}})
            owner = await api.must("POST", THINGS, thing("owner"))
            owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned"}}
            owned["metadata"]["ownerReferences"] = [
                {"apiVersion": "example.com/v1", "kind": "Thing", "name": "owner",
                 "uid": owner["metadata"]["uid"]}
            ]  # fmt: skip
            maps = "/api/v1/namespaces/default/configmaps"
            await api.must("POST", maps, owned)
            manager = ControllerManager()
            config = api.client.config
            client = {"servers": list(config.servers), "ca": config.ca, "cert": config.cert,
                      "key": config.key}  # fmt: skip
            election = {"lease_s": 4, "renew_s": 3, "retry_s": 0.2}
            await manager.start(
                system_seams(),
                {"name": "m", "client": client, "election": election,
                 "controllers": ["namespace", "garbage-collector"]},
            )  # fmt: skip
            try:
                await api.must("DELETE", f"{THINGS}/owner")
                await api.must("DELETE", "/api/v1/namespaces/gone")
                await api.until(f"{maps}/owned", lambda f: f.get("code") == 404)
                await api.until("/api/v1/namespaces/gone", lambda f: f.get("code") == 404)
                for left in (inside, older):
                    assert (await api.must("GET", left))["items"] == []
            finally:
                await manager.stop()

    run(main())
