"""etcd's protocol without etcd's client: what is sent is exactly what a test says."""

from __future__ import annotations

import pathlib
import queue
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import text_format

from raftstore.gateway import protocol_pb2 as pb

PATIENCE_S = 20.0
_ANSWERS: dict[str, Any] = {
    "KV/Range": pb.RangeResponse,
    "KV/Put": pb.PutResponse,
    "KV/DeleteRange": pb.DeleteRangeResponse,
    "KV/Txn": pb.TxnResponse,
    "Lease/LeaseGrant": pb.LeaseGrantResponse,
    "Lease/LeaseTimeToLive": pb.LeaseTimeToLiveResponse,
    "Lease/LeaseLeases": pb.LeaseLeasesResponse,
    "Maintenance/HashKV": pb.HashKVResponse,
    "Maintenance/Status": pb.StatusResponse,
    "Maintenance/Alarm": pb.AlarmResponse,
    "Auth/AuthStatus": pb.AuthStatusResponse,
    "Auth/Authenticate": pb.AuthenticateResponse,
    "Auth/RoleGet": pb.AuthRoleGetResponse,
}
"""Of methods whose answer is more than a header."""


class RawClient:
    """Calls methods of the first of `endpoints`; answers are text without ids and terms."""

    def __init__(self, endpoints: Sequence[str], tls: Mapping[str, str]) -> None:
        ca, cert, key = (pathlib.Path(tls[name]).read_bytes() for name in ("ca", "cert", "key"))
        self._channel = grpc.secure_channel(
            endpoints[0],
            grpc.ssl_channel_credentials(ca, key, cert),
            options=[("grpc.max_receive_message_length", -1)],
        )
        self.token = ""

    def close(self) -> None:
        self._channel.close()

    def ask(self, method: str, request: Any = None) -> Any:
        """The answer as a message. Raises grpc.RpcError."""
        answer = _ANSWERS.get(method, pb.HeaderOnly)
        call = self._channel.unary_unary(
            f"/etcdserverpb.{method}", lambda m: m.SerializeToString(), answer.FromString
        )
        metadata = (("token", self.token),) if self.token else ()
        return call(request or pb.Nothing(), timeout=PATIENCE_S, metadata=metadata)

    def tell(self, method: str, request: Any = None) -> str:
        """The answer as text, or the error's code and text."""
        try:
            return shown(self.ask(method, request))
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"  # type: ignore[attr-defined]

    def send_bytes(self, method: str, request: bytes) -> str:
        """As `tell`, for a request that no message of ours makes."""
        answer = _ANSWERS.get(method, pb.HeaderOnly)
        call = self._channel.unary_unary(f"/etcdserverpb.{method}", bytes, answer.FromString)
        try:
            return shown(call(request, timeout=PATIENCE_S))
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"  # type: ignore[attr-defined]

    def watch(self) -> RawStream:
        call = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            lambda m: m.SerializeToString(),
            pb.WatchResponse.FromString,
        )
        return RawStream(call)

    def keep_alive(self) -> RawStream:
        call = self._channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            lambda m: m.SerializeToString(),
            pb.LeaseKeepAliveResponse.FromString,
        )
        return RawStream(call)


class RawStream:
    """Requests one by one, answers in the order in which they came."""

    def __init__(self, call: Any) -> None:
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._call = call(iter(self._requests.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(answer)
            self._answers.put("end")
        except grpc.RpcError as error:
            self._answers.put(f"{error.code().name}: {error.details()}")  # type: ignore[attr-defined]

    def send(self, *requests: Any) -> None:
        for request in requests:
            self._requests.put(request)

    def create(self, **fields: Any) -> None:
        self.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(**fields)))

    def cancel(self, watch_id: int) -> None:
        self.send(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id)))

    def ask_progress(self) -> None:
        self.send(pb.WatchRequest(progress_request=pb.Nothing()))

    def take(self) -> Any:
        """The next answer, or how the stream ended."""
        return self._answers.get(timeout=PATIENCE_S)

    def told(self, number: int = 1) -> list[str]:
        return [shown(self.take()) for _ in range(number)]

    def until_quiet(self, quiet_s: float) -> Iterator[Any]:
        while True:
            try:
                yield self._answers.get(timeout=quiet_s)
            except queue.Empty:
                return

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()


def shown(answer: Any) -> str:
    if isinstance(answer, str):
        return answer
    text = text_format.MessageToString(answer, as_one_line=True)
    text = re.sub(r"\b(cluster_id|member_id|raft_term): \d+ ?", "", text)
    return re.sub(r"(value|key): \"(.{30})[^\"]{100,}\"", r'\1: "\2..."', text).strip()


# ---- requests, by what they are

METHODS = {
    pb.PutRequest: ("KV/Put", "request_put"),
    pb.RangeRequest: ("KV/Range", "request_range"),
    pb.DeleteRangeRequest: ("KV/DeleteRange", "request_delete_range"),
    pb.TxnRequest: ("KV/Txn", "request_txn"),
    pb.CompactionRequest: ("KV/Compact", ""),
    pb.LeaseGrantRequest: ("Lease/LeaseGrant", ""),
    pb.LeaseIdRequest: ("Lease/LeaseRevoke", ""),
    pb.AlarmRequest: ("Maintenance/Alarm", ""),
    pb.AuthUserAddRequest: ("Auth/UserAdd", ""),
    pb.AuthUserRoleRequest: ("Auth/UserGrantRole", ""),
    pb.AuthUserChangePasswordRequest: ("Auth/UserChangePassword", ""),
    pb.AuthRoleGrantPermissionRequest: ("Auth/RoleGrantPermission", ""),
    pb.AuthenticateRequest: ("Auth/Authenticate", ""),
}


def put(key: bytes, value: bytes = b"", **fields: Any) -> Any:
    return pb.PutRequest(key=key, value=value, **fields)


def read(key: bytes, range_end: bytes = b"", **fields: Any) -> Any:
    return pb.RangeRequest(key=key, range_end=range_end, **fields)


def delete(key: bytes, range_end: bytes = b"", **fields: Any) -> Any:
    return pb.DeleteRangeRequest(key=key, range_end=range_end, **fields)


def txn(success: Any = (), failure: Any = (), compare: Any = ()) -> Any:
    def op(request: Any) -> Any:
        return pb.RequestOp(**{METHODS[type(request)][1]: request})

    return pb.TxnRequest(compare=compare, success=map(op, success), failure=map(op, failure))


def answers(client: RawClient, *requests: Any) -> list[Any]:
    return [client.tell(METHODS[type(request)][0], request) for request in requests]


def revision(client: RawClient) -> int:
    found: int = client.ask("KV/Range", read(b"x")).header.revision
    return found
