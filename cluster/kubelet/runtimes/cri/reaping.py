"""Ending the pods of a node in its container manager, without a kubelet: see `runtimes.reap`."""

from __future__ import annotations

from typing import Any

import grpc

from cluster.kubelet.runtimes.cri import messages
from cluster.kubelet.runtimes.cri import protocol_pb2 as pb
from cluster.kubelet.runtimes.cri.client import CALL_TIMEOUT_S, RUNTIME, SANDBOX_TIMEOUT_S, CriError


class Reaper:
    """Of the node in `data_dir`. Calls raise CriError if the container manager is not there."""

    def __init__(self, data_dir: str, endpoint: str) -> None:
        options = [("grpc.default_authority", "localhost")]
        self._channel = grpc.insecure_channel(endpoint, options=options)
        self._labels = messages.owned(data_dir)

    def stop_all(self) -> int:
        """SIGKILL to all containers and sandboxes that run; how many containers did."""
        chosen = pb.ContainerFilter(label_selector=self._labels)
        chosen.state.state = pb.CONTAINER_RUNNING
        answer = self._call("ListContainers", pb.ListContainersRequest(filter=chosen))
        for each in answer.containers:
            self._call("StopContainer", pb.StopContainerRequest(container_id=each.id))
        for sandbox in self._sandboxes():
            self._call("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=sandbox.id))
        return len(answer.containers)

    def remove_all(self) -> int:
        stopped = self.stop_all()
        for sandbox in self._sandboxes():
            self._call("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox.id))
        return stopped

    def close(self) -> None:
        self._channel.close()

    def _sandboxes(self) -> list[Any]:
        chosen = pb.PodSandboxFilter(label_selector=self._labels)
        return list(self._call("ListPodSandbox", pb.ListPodSandboxRequest(filter=chosen)).items)

    def _call(self, name: str, request: Any) -> Any:
        call = self._channel.unary_unary(
            RUNTIME + name,
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(pb, f"{name}Response").FromString,
        )
        try:
            return call(request, timeout=SANDBOX_TIMEOUT_S if "Sandbox" in name else CALL_TIMEOUT_S)
        except grpc.RpcError as error:
            raise CriError(name, error.code(), error.details() or "") from None
