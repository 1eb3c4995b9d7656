"""A KMS plugin (v2) for tests, run as `python kms_plugin.py SOCKET FOLDER`.

FOLDER/key-id names the key that encrypts, FOLDER/healthz what Status says of its health; every
call is a line in FOLDER/calls. A key is the hash of its name.
"""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cluster.storage.encryption import kms_pb2

FOLDER = Path(sys.argv[2] if len(sys.argv) > 2 else ".")


def _cipher(key_id: str) -> AESGCM:
    return AESGCM(hashlib.sha256(key_id.encode()).digest())


def status(request: Any, context: Any) -> Any:
    healthz = (FOLDER / "healthz").read_text()
    return kms_pb2.StatusResponse(version="v2", healthz=healthz, key_id=_key_id())


def encrypt(request: Any, context: Any) -> Any:
    nonce = os.urandom(12)
    sealed = nonce + _cipher(_key_id()).encrypt(nonce, request.plaintext, None)
    notes = {"version.example.com": b"1"}
    return kms_pb2.EncryptResponse(ciphertext=sealed, key_id=_key_id(), annotations=notes)


def decrypt(request: Any, context: Any) -> Any:
    if dict(request.annotations) != {"version.example.com": b"1"}:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "annotations are missing")
    nonce, sealed = request.ciphertext[:12], request.ciphertext[12:]
    return kms_pb2.DecryptResponse(plaintext=_cipher(request.key_id).decrypt(nonce, sealed, None))


def _key_id() -> str:
    return (FOLDER / "key-id").read_text()


def _noted(name: str, answer: Any) -> Any:
    def handle(request: Any, context: Any) -> Any:
        with open(FOLDER / "calls", "a") as file:
            file.write(f"{name}\n")
        return answer(request, context)

    return handle


def main() -> None:
    calls = {
        "Status": (status, kms_pb2.StatusRequest),
        "Encrypt": (encrypt, kms_pb2.EncryptRequest),
        "Decrypt": (decrypt, kms_pb2.DecryptRequest),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _noted(name, answer),
            request_deserializer=kind.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, (answer, kind) in calls.items()
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service = grpc.method_handlers_generic_handler("v2.KeyManagementService", handlers)
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"unix://{sys.argv[1]}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
