"""A gRPC health service (grpc.health.v1): health_server.py ADDRESS [SECONDS].

It says SERVING, and after so many seconds NOT_SERVING.
"""

from __future__ import annotations

import sys
import time
from concurrent import futures

import grpc

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


def main(address: str, seconds: str = "inf") -> None:
    until = time.monotonic() + float(seconds)

    def check(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        return SERVING if time.monotonic() < until else NOT_SERVING

    methods = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    handler = grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
