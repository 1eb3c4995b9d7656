"""An adapter of metrics: custom.metrics.k8s.io and external.metrics.k8s.io, from a file.

usage: adapter.py CONFIG   (JSON: cert, key, front_ca, values: a file of JSON)

The file holds {"requests": AMOUNT of each pod, "queue": AMOUNT outside}; every answer reads it
anew. Only who has a front proxy's certificate is answered.
"""

import http.server
import json
import ssl
import sys
from urllib.parse import parse_qs, urlsplit

CUSTOM, EXTERNAL = "custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    values = ""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        known = self.connection.getpeercert() and self.headers.get("X-Remote-User")
        found = self.found(parts.path, parse_qs(parts.query)) if known else None
        body = json.dumps(found or {}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def found(self, path, query):
        if path in (f"/apis/{CUSTOM}", f"/apis/{EXTERNAL}"):
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path[6:],
                    "resources": []}  # fmt: skip
        with open(self.values) as file:
            values = json.load(file)
        if path == f"/apis/{CUSTOM}/namespaces/default/pods/*/requests":
            assert query["labelSelector"] == ["app=web"], query
            return listed(CUSTOM, [of_pod(name, values["requests"]) for name in values["pods"]])
        if path == f"/apis/{EXTERNAL}/namespaces/default/queue":
            return listed(EXTERNAL, [{"metricName": "queue", "value": values["queue"],
                                      "timestamp": "2100-01-01T00:00:00Z"}])  # fmt: skip
        return None


def of_pod(name, value):
    about = {"kind": "Pod", "namespace": "default", "name": name, "apiVersion": "v1"}
    return {"describedObject": about, "metric": {"name": "requests"}, "value": value,
            "timestamp": "2100-01-01T00:00:00Z"}  # fmt: skip


def listed(api_version, items):
    return {"kind": "MetricValueList", "apiVersion": api_version, "metadata": {}, "items": items}


def main(path):
    with open(path) as file:
        config = json.load(file)
    Handler.values = config["values"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(config["cert"], config["key"])
    context.load_verify_locations(config["front_ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
