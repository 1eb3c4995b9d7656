"""A small API server of another group, as extensions are: `flunders.wardle.example.com/v1alpha1`.

usage: flunders.py CONFIG   (JSON: port, cert, key, api, client {ca, cert, key}, openapi)

It knows nothing of the cluster but what a real one knows: it reads the ConfigMap
extension-apiserver-authentication, believes X-Remote-* headers of whoever shows a front proxy's
certificate, and asks the cluster by SubjectAccessReview what that user may do. Objects live in
memory. `openapi` is "v3" or "v2": which form of OpenAPI it has.
"""

import http.server
import json
import ssl
import sys
import threading
import time
import urllib.request
from urllib.parse import parse_qs, urlsplit

GROUP, VERSION, KIND = "wardle.example.com", "v1alpha1", "Flunder"
ROOT = f"/apis/{GROUP}/{VERSION}"
NAME = "com.example.wardle.v1alpha1.Flunder"
VERBS = ["create", "delete", "get", "list", "update", "watch"]
CONDITION = threading.Condition()
OBJECTS, EVENTS = {}, []
SEEN = {"watching": 0, "headers": {}}


class Cluster:
    """The API server before this one."""

    def __init__(self, config):
        self.url = config["api"]
        client = config["client"]
        self.tls = ssl.create_default_context(cafile=client["ca"])
        self.tls.load_cert_chain(client["cert"], client["key"])

    def call(self, path, obj=None):
        body = None if obj is None else json.dumps(obj).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        with urllib.request.urlopen(request, context=self.tls, timeout=10) as answer:
            return json.loads(answer.read())

    def authentication(self):
        path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
        return self.call(path)["data"]

    def allows(self, user, attributes):
        if "system:masters" in user["groups"]:
            return True
        spec = {"user": user["name"], "groups": user["groups"], "resourceAttributes": attributes}
        review = {"kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                  "spec": spec}  # fmt: skip
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return self.call(path, review)["status"].get("allowed", False)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster, known, openapi = None, None, "v3"

    def log_message(self, *arguments):
        pass

    def answer(self, obj, status=200):
        body = json.dumps(obj).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Warning", '299 - "flunders are experimental"')
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code, reason, message):
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                     "reason": reason, "message": message}, code)  # fmt: skip

    def user(self):
        """Whom the front proxy vouches for; None for anybody else."""
        certificate = self.connection.getpeercert()
        pairs = [p for part in (certificate or {}).get("subject", ()) for p in part]
        names = [value for key, value in pairs if key == "commonName"]
        allowed = json.loads(self.known["requestheader-allowed-names"])
        if not names or (allowed and names[0] not in allowed):
            return None
        return {"name": self.headers.get("X-Remote-User", ""),
                "groups": self.headers.get_all("X-Remote-Group") or []}  # fmt: skip

    def handle_request(self):
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        user = self.user()
        if user is None:
            return self.refuse(401, "Unauthorized", "Unauthorized")
        if parts.path == "/seen":
            return self.answer(SEEN)
        SEEN["headers"] = dict(self.headers.items())
        if self.headers.get("Upgrade") == "echo":
            return self.echo()
        document = DOCUMENTS[self.openapi].get(parts.path)
        if document is not None and self.command == "GET":
            return self.answer(document)
        if not parts.path.startswith(ROOT + "/"):
            return self.refuse(404, "NotFound", "the server could not find the requested resource")
        return self.resource(parts, body, user)

    def echo(self):
        """Another protocol: what comes is sent back, until the client ends."""
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        while data := self.connection.recv(65536):
            self.connection.sendall(data)

    do_GET = do_POST = do_PUT = do_DELETE = handle_request

    def resource(self, parts, body, user):
        path = parts.path.removeprefix(ROOT + "/").split("/")
        namespace = path[1] if path[0] == "namespaces" else ""
        rest = path[2:] if namespace else path
        name = rest[1] if len(rest) > 1 else ""
        query = parse_qs(parts.query)
        watching = query.get("watch", [""])[0] in ("1", "true")
        verb = {"POST": "create", "PUT": "update", "DELETE": "delete"}.get(
            self.command, "watch" if watching else "get" if name else "list"
        )
        asked = {"namespace": namespace, "verb": verb, "group": GROUP, "resource": rest[0],
                 "name": name}  # fmt: skip
        if not self.cluster.allows(user, asked):
            who = user["name"]
            text = f'flunders.{GROUP} is forbidden: the extension does not let "{who}" {verb} it'
            return self.refuse(403, "Forbidden", text)
        return getattr(self, verb)(namespace, name, body, query)

    def create(self, namespace, name, body, query):
        key = namespace, body["metadata"]["name"]
        with CONDITION:
            if key in OBJECTS:
                text = f'flunders.{GROUP} "{key[1]}" already exists'
                return self.refuse(409, "AlreadyExists", text)
            body["metadata"] |= {"namespace": namespace, "uid": f"u{len(EVENTS)}"}
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            body["metadata"]["creationTimestamp"] = stamp
            body["spec"] = {**body.get("spec", {}), "createdBy": SEEN["headers"]["X-Remote-User"]}
            store("ADDED", key, body)
        return self.answer(body, 201)

    def update(self, namespace, name, body, query):
        with CONDITION:
            if (namespace, name) not in OBJECTS:
                return self.missing(name)
            store("MODIFIED", (namespace, name), body)
        return self.answer(body)

    def delete(self, namespace, name, body, query):
        with CONDITION:
            obj = OBJECTS.get((namespace, name))
            if obj is None:
                return self.missing(name)
            store("DELETED", (namespace, name), obj)
        return self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def get(self, namespace, name, body, query):
        obj = OBJECTS.get((namespace, name))
        return self.missing(name) if obj is None else self.answer(obj)

    def missing(self, name):
        return self.refuse(404, "NotFound", f'flunders.{GROUP} "{name}" not found')

    def list(self, namespace, name, body, query):
        with CONDITION:
            items = [o for (ns, _), o in sorted(OBJECTS.items()) if namespace in ("", ns)]
            version = str(len(EVENTS))
        self.answer({"kind": "FlunderList", "apiVersion": f"{GROUP}/{VERSION}",
                     "metadata": {"resourceVersion": version}, "items": items})  # fmt: skip

    def watch(self, namespace, name, body, query):
        at = int(query.get("resourceVersion", ["0"])[0] or 0)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        with CONDITION:
            SEEN["watching"] += 1
        try:
            while self.follow(namespace, at):
                at = len(EVENTS)
        finally:
            with CONDITION:
                SEEN["watching"] -= 1
            self.close_connection = True

    def follow(self, namespace, at):
        """Send what came after `at`; wait a little if that is nothing."""
        with CONDITION:
            if len(EVENTS) == at:
                CONDITION.wait(0.2)
            events = [json.loads(e) for e in EVENTS[at:]]
        try:
            for event in events:
                if namespace in ("", event["object"]["metadata"]["namespace"]):
                    line = json.dumps(event).encode() + b"\n"
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.connection.setblocking(False)
            try:
                return self.connection.recv(1) != b""
            except ssl.SSLWantReadError:
                return True
            finally:
                self.connection.setblocking(True)
        except OSError:
            return False


def store(kind, key, obj):
    EVENTS.append("")
    obj["metadata"]["resourceVersion"] = str(len(EVENTS))
    if kind == "DELETED":
        OBJECTS.pop(key)
    else:
        OBJECTS[key] = obj
    EVENTS[-1] = json.dumps({"type": kind, "object": obj})
    CONDITION.notify_all()


RESOURCES = {
    "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}",
    "resources": [{"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": KIND,
                   "verbs": VERBS, "shortNames": ["fl"]}],
}  # fmt: skip
GVK = [{"group": GROUP, "version": VERSION, "kind": KIND}]
SCHEMA = {
    "type": "object",
    "description": "A flunder is what an extension keeps.",
    "x-kubernetes-group-version-kind": GVK,
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "description": "What is wanted of a flunder.",
            "properties": {"size": {"type": "integer", "description": "In barleycorns."}},
        },
    },
}
PATH = f"{ROOT}/namespaces/{{namespace}}/flunders/{{name}}"
GET = {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": GVK[0]}
V3 = {
    "openapi": "3.0.0",
    "info": {"title": "flunders", "version": "1"},
    "paths": {PATH: {"get": {**GET, "responses": {"200": {"description": "OK"}}}}},
    "components": {"schemas": {NAME: SCHEMA}},
}
V2 = {
    "swagger": "2.0",
    "info": {"title": "flunders", "version": "1"},
    "paths": {
        PATH: {"get": {**GET, "operationId": "readFlunder", "responses": {"200": {
            "description": "OK", "schema": {"$ref": f"#/definitions/{NAME}"}}}}},
        "/healthz": {"get": {"responses": {"200": {"description": "OK"}}}},
    },
    "definitions": {NAME: SCHEMA, "unused": {"type": "object"}},
}  # fmt: skip
INDEX = {"paths": {ROOT[1:]: {"serverRelativeURL": f"/openapi/v3{ROOT}?hash=F1"}}}
BOTH = {ROOT: RESOURCES, "/openapi/v2": V2}
DOCUMENTS = {"v2": BOTH, "v3": {**BOTH, "/openapi/v3": INDEX, f"/openapi/v3{ROOT}": V3}}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    context = None

    def finish_request(self, request, address):
        """TLS in the connection's own thread: nobody waits for a slow stranger."""
        request.settimeout(10)
        try:
            secured = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return
        secured.settimeout(None)
        self.RequestHandlerClass(secured, address, self)

    def handle_error(self, request, address):
        pass


def main(path):
    with open(path) as file:
        config = json.load(file)
    Handler.cluster, Handler.openapi = Cluster(config), config.get("openapi", "v3")
    Handler.known = Handler.cluster.authentication()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config["cert"], config["key"])
    context.load_verify_locations(cadata=Handler.known["requestheader-client-ca-file"])
    context.verify_mode = ssl.CERT_OPTIONAL
    Server.context = context
    server = Server(("127.0.0.1", config["port"]), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
