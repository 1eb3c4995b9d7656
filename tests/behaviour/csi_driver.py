"""A CSI driver for tests, run as `python csi_driver.py FOLDER`: a process of its own.

Volumes are folders in FOLDER/volumes, bound where they are asked for; FOLDER/csi.sock serves CSI,
FOLDER/reg.sock the registration. FOLDER/calls has a line for each call; a file FOLDER/fail-METHOD
makes that call fail with the gRPC code in it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from cluster.csi import csi_pb2 as pb
from cluster.csi import registration_pb2 as reg
from cluster.kubelet.volumes import mounting

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".").absolute()
NAME = "folders.example.com"
NODE = "the-node"
ZONE = "topology.folders.example.com/zone"
CAPACITY = 1 << 30


class Refused(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def volume(name: str) -> Path:
    path = FOLDER / "volumes" / name
    if not path.exists():
        raise Refused("NOT_FOUND", f"no volume {name}")
    return path


def record(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "record").read_text())
    return found


def write(path: Path, **values: Any) -> None:
    (path / "record").write_text(json.dumps(values))


def create(request: Any) -> Any:
    size = request.capacity_range.required_bytes
    if size > CAPACITY:
        raise Refused("OUT_OF_RANGE", "too large")
    path = FOLDER / "volumes" / request.name
    if not path.exists():
        source = request.volume_content_source
        (path / "data").mkdir(parents=True)
        (path / "data").chmod(0o777)
        if source.HasField("snapshot"):
            copy(FOLDER / "snapshots" / source.snapshot.snapshot_id, path / "data")
        elif source.HasField("volume"):
            copy(volume(source.volume.volume_id) / "data", path / "data")
        write(path, size=size, attached="", secrets=dict(request.secrets))
    found = pb.Volume(volume_id=request.name, capacity_bytes=record(path)["size"])
    found.volume_context["made-by"] = NAME
    found.volume_context.update(request.parameters)
    found.content_source.CopyFrom(request.volume_content_source)
    found.accessible_topology.append(pb.Topology(segments={ZONE: "z1"}))
    return pb.CreateVolumeResponse(volume=found)


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True)


def delete(request: Any) -> Any:
    path = FOLDER / "volumes" / request.volume_id
    if path.exists():
        if record(path)["attached"]:
            raise Refused("FAILED_PRECONDITION", "the volume is attached")
        shutil.rmtree(path)
    return pb.DeleteVolumeResponse()


def publish_to_node(request: Any) -> Any:
    path = volume(request.volume_id)
    was = record(path)
    if was["attached"] not in ("", request.node_id):
        raise Refused("FAILED_PRECONDITION", f"attached to {was['attached']}")
    write(path, **{**was, "attached": request.node_id})
    return pb.ControllerPublishVolumeResponse(publish_context={"device": "/dev/made-up"})


def unpublish_from_node(request: Any) -> Any:
    path = volume(request.volume_id)
    if any((path / "published").glob("*")):
        raise Refused("FAILED_PRECONDITION", "the volume is in use")
    write(path, **{**record(path), "attached": ""})
    return pb.ControllerUnpublishVolumeResponse()


def expand(request: Any) -> Any:
    path, size = volume(request.volume_id), request.capacity_range.required_bytes
    write(path, **{**record(path), "size": size})
    return pb.ControllerExpandVolumeResponse(capacity_bytes=size, node_expansion_required=True)


def expand_on_node(request: Any) -> Any:
    path, size = volume(request.volume_id), request.capacity_range.required_bytes
    write(path, **{**record(path), "grown": size})
    return pb.NodeExpandVolumeResponse(capacity_bytes=size)


def snapshot(request: Any) -> Any:
    path = FOLDER / "snapshots" / request.name
    if not path.exists():
        copy(volume(request.source_volume_id) / "data", path)
    found = pb.Snapshot(snapshot_id=request.name, source_volume_id=request.source_volume_id)
    found.creation_time.FromSeconds(1_700_000_000)
    found.size_bytes, found.ready_to_use = record(volume(request.source_volume_id))["size"], True
    return pb.CreateSnapshotResponse(snapshot=found)


def delete_snapshot(request: Any) -> Any:
    shutil.rmtree(FOLDER / "snapshots" / request.snapshot_id, ignore_errors=True)
    return pb.DeleteSnapshotResponse()


def capacity(request: Any) -> Any:
    return pb.GetCapacityResponse(available_capacity=CAPACITY)


def stage(request: Any) -> Any:
    path = volume(request.volume_id)
    if dict(request.publish_context) != {"device": "/dev/made-up"}:
        raise Refused("FAILED_PRECONDITION", "not attached")
    bind(str(path / "data"), request.staging_target_path)
    return pb.NodeStageVolumeResponse()


def unstage(request: Any) -> Any:
    mounting.unmount(request.staging_target_path)
    return pb.NodeUnstageVolumeResponse()


def publish(request: Any) -> Any:
    if "ephemeral" in request.volume_context:
        source = str(FOLDER / "inline" / request.volume_id)
        os.makedirs(source, exist_ok=True)
        bind(source, request.target_path)
        return pb.NodePublishVolumeResponse()
    bind(request.staging_target_path, request.target_path)
    place = volume(request.volume_id) / "published"
    place.mkdir(exist_ok=True)
    (place / request.target_path.replace("/", "|")).write_text("")
    return pb.NodePublishVolumeResponse()


def bind(source: str, target: str) -> None:
    if not mounting.is_mounted(target):
        os.makedirs(target, exist_ok=True)
        mounting.bind(source, target)


def unpublish(request: Any) -> Any:
    mounting.unmount(request.target_path)
    if os.path.isdir(request.target_path):
        os.rmdir(request.target_path)
    shutil.rmtree(FOLDER / "inline" / request.volume_id, ignore_errors=True)
    place = FOLDER / "volumes" / request.volume_id / "published"
    (place / request.target_path.replace("/", "|")).unlink(missing_ok=True)
    return pb.NodeUnpublishVolumeResponse()


def stats(request: Any) -> Any:
    found = os.statvfs(request.volume_path)
    size = found.f_blocks * found.f_frsize
    free = found.f_bavail * found.f_frsize
    usage = pb.VolumeUsage(available=free, total=size, used=size - free, unit=pb.VolumeUsage.BYTES)
    return pb.NodeGetVolumeStatsResponse(usage=[usage])


def node_info(request: Any) -> Any:
    where = pb.Topology(segments={ZONE: "z1"})
    limit = int((FOLDER / "limit").read_text()) if (FOLDER / "limit").exists() else 0
    return pb.NodeGetInfoResponse(
        node_id=NODE, max_volumes_per_node=limit, accessible_topology=where
    )


def capabilities(request: Any) -> Any:
    kinds = pb.ControllerServiceCapability.RPC
    wanted = (
        kinds.CREATE_DELETE_VOLUME, kinds.PUBLISH_UNPUBLISH_VOLUME, kinds.EXPAND_VOLUME,
        kinds.CREATE_DELETE_SNAPSHOT, kinds.GET_CAPACITY, kinds.CLONE_VOLUME,
    )  # fmt: skip
    found = [pb.ControllerServiceCapability(rpc=kinds(type=kind)) for kind in wanted]
    return pb.ControllerGetCapabilitiesResponse(capabilities=found)


def node_capabilities(request: Any) -> Any:
    kinds = pb.NodeServiceCapability.RPC
    wanted = (kinds.STAGE_UNSTAGE_VOLUME, kinds.EXPAND_VOLUME, kinds.GET_VOLUME_STATS)
    found = [pb.NodeServiceCapability(rpc=kinds(type=kind)) for kind in wanted]
    return pb.NodeGetCapabilitiesResponse(capabilities=found)


def plugin_capabilities(request: Any) -> Any:
    services = pb.PluginCapability.Service
    wanted = (services.CONTROLLER_SERVICE, services.VOLUME_ACCESSIBILITY_CONSTRAINTS)
    found = [pb.PluginCapability(service=services(type=kind)) for kind in wanted]
    return pb.GetPluginCapabilitiesResponse(capabilities=found)


CALLS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "Identity": {
        "GetPluginInfo": lambda _: pb.GetPluginInfoResponse(name=NAME, vendor_version="1"),
        "GetPluginCapabilities": plugin_capabilities,
        "Probe": lambda _: pb.ProbeResponse(),
    },
    "Controller": {
        "CreateVolume": create,
        "DeleteVolume": delete,
        "ControllerPublishVolume": publish_to_node,
        "ControllerUnpublishVolume": unpublish_from_node,
        "ControllerExpandVolume": expand,
        "ControllerGetCapabilities": capabilities,
        "GetCapacity": capacity,
        "CreateSnapshot": snapshot,
        "DeleteSnapshot": delete_snapshot,
    },
    "Node": {
        "NodeStageVolume": stage,
        "NodeUnstageVolume": unstage,
        "NodePublishVolume": publish,
        "NodeUnpublishVolume": unpublish,
        "NodeExpandVolume": expand_on_node,
        "NodeGetVolumeStats": stats,
        "NodeGetInfo": node_info,
        "NodeGetCapabilities": node_capabilities,
    },
}


def handler(name: str, answer: Callable[[Any], Any]) -> Any:
    def handle(request: Any, context: Any) -> Any:
        with open(FOLDER / "calls", "a") as file:
            file.write(f"{name}\n")
        fail = FOLDER / f"fail-{name}"
        try:
            if fail.exists():
                raise Refused(fail.read_text().strip(), "as the test wants it")
            return answer(request)
        except Refused as refused:
            context.abort(getattr(grpc.StatusCode, refused.code), str(refused))

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=getattr(pb, f"{name}Request").FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )


def info(request: Any, context: Any) -> Any:
    endpoint = str(FOLDER / "csi.sock")
    return reg.PluginInfo(
        type="CSIPlugin", name=NAME, endpoint=endpoint, supported_versions=["1.0.0"]
    )


def notified(request: Any, context: Any) -> Any:
    (FOLDER / "registered").write_text(str(request.plugin_registered))
    return reg.RegistrationStatusResponse()


def registration() -> Any:
    handlers = {
        "GetInfo": (info, reg.InfoRequest),
        "NotifyRegistrationStatus": (notified, reg.RegistrationStatus),
    }
    made = {
        name: grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=kind.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, (answer, kind) in handlers.items()
    }
    return grpc.method_handlers_generic_handler("pluginregistration.Registration", made)


def serve(socket: Path, *handlers: Any) -> Any:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(handlers)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    return server


def main() -> None:
    (FOLDER / "volumes").mkdir(parents=True, exist_ok=True)
    services = [
        grpc.method_handlers_generic_handler(
            f"csi.v1.{service}", {name: handler(name, answer) for name, answer in calls.items()}
        )
        for service, calls in CALLS.items()
    ]
    serving = [serve(FOLDER / "csi.sock", *services), serve(FOLDER / "reg.sock", registration())]
    print("ready", flush=True)
    for server in serving:
        server.wait_for_termination()


if __name__ == "__main__":
    main()
