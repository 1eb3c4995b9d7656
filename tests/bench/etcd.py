"""A real etcd of three members, and loads for it.

Requests come from h2load, which is written in C and costs next to nothing beside etcd; it sends the
same request again and again. Watches and keep-alives, which are streams, come from `http2`.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import re
import signal
import subprocess
import time
from collections.abc import Sequence

from figures import Load, load_of
from http2 import Http2, message

from raftstore.faults.processes import free_addresses
from raftstore.gateway import protocol_pb2 as pb

NAMES = ("m0", "m1", "m2")
KEY = b"bench/000001"
CONNECTIONS = 100
"""At most: as many as etcd's own benchmark documentation uses for 1000 clients."""
WATCH_CONNECTIONS = 10
OPEN_CALLS = 6


class Etcd:
    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._peers, self._clients = free_addresses(3), free_addresses(3)
        self._processes: list[subprocess.Popen[bytes]] = []

    # ---- processes

    def start(self) -> None:
        pairs = zip(NAMES, self._peers, strict=True)
        initial = ",".join(f"{name}=http://{peer}" for name, peer in pairs)
        for name, peer, client in zip(NAMES, self._peers, self._clients, strict=True):
            command = [
                "etcd",
                *(f"--name={name}", f"--data-dir={self._folder / name}", "--log-level=error"),
                *(f"--listen-peer-urls=http://{peer}", f"--initial-cluster={initial}"),
                f"--initial-advertise-peer-urls=http://{peer}",
                *(f"--listen-client-urls=http://{client}", "--logger=zap"),
                f"--advertise-client-urls=http://{client}",
                f"--quota-backend-bytes={8 << 30}",
            ]
            log = (self._folder / f"{name}.log").open("ab")
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            log.close()
        while self._etcdctl("get", KEY.decode()) is None:
            time.sleep(0.05)

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()
        self._processes = []

    @property
    def gateways(self) -> list[str]:
        """Where etcd's protocol is spoken."""
        return self._clients

    def _etcdctl(self, *arguments: str) -> str | None:
        """Its output; None if it failed."""
        done = etcdctl(self._clients, *arguments)
        return None if done.returncode else done.stdout

    def leader(self) -> str:
        statuses = json.loads(self._etcdctl("endpoint", "status", "-w", "json") or "[]")
        [found] = [
            status["Endpoint"]
            for status in statuses
            if status["Status"]["leader"] == status["Status"]["header"]["member_id"]
        ]
        return str(found)

    def memory_bytes(self) -> int:
        """Of all members, as the kernel counts what is resident."""
        return sum(resident_bytes(process.pid) for process in self._processes)

    def revision(self) -> int:
        statuses = json.loads(self._etcdctl("endpoint", "status", "-w", "json") or "[]")
        return max(int(status["Status"]["header"]["revision"]) for status in statuses)

    # ---- loads

    def put(self, clients: int, duration_s: float, value_bytes: int) -> Load:
        request = pb.PutRequest(key=KEY, value=os.urandom(value_bytes))
        return self._h2load("Put", request, clients, duration_s)

    def read(self, clients: int, duration_s: float, serializable: bool) -> Load:
        request = pb.RangeRequest(key=KEY, serializable=serializable)
        return self._h2load("Range", request, clients, duration_s)

    def txn(self, clients: int, duration_s: float, value_bytes: int) -> Load:
        exists = pb.Compare(
            key=KEY, target=pb.Compare.VERSION, result=pb.Compare.GREATER, version=0
        )
        put = pb.RequestOp(request_put=pb.PutRequest(key=KEY, value=os.urandom(value_bytes)))
        request = pb.TxnRequest(compare=[exists], success=[put])
        return self._h2load("Txn", request, clients, duration_s)

    def _h2load(self, method: str, request: pb.PutRequest, clients: int, duration_s: float) -> Load:
        body, log = self._folder / "body", self._folder / "log"
        body.write_bytes(message(request.SerializeToString()))
        log.unlink(missing_ok=True)
        connections = min(clients, CONNECTIONS)
        streams = -(-clients // connections)
        command = [
            *("h2load", f"--clients={connections}", f"--max-concurrent-streams={streams}"),
            *(f"--duration={round(duration_s * 1e3)}ms", f"--data={body}", f"--log-file={log}"),
            *("--header=content-type: application/grpc", "--header=te: trailers"),
            f"http://{self.leader()}/etcdserverpb.KV/{method}",
        ]
        subprocess.run(command, capture_output=True, check=True)
        rows = (line.split("\t") for line in log.read_text().splitlines())
        latencies_s = [int(taken_us) / 1e6 for _, status, taken_us in rows if status == "200"]
        return load_of(latencies_s, duration_s)

    async def watch(self, watchers: int, duration_s: float) -> float:
        """Deliveries per second to watchers of one key, with a writer that goes on and on."""
        counted = [0, 0]

        def answered(stream: int, content: bytes) -> None:
            response = pb.WatchResponse.FromString(content)
            counted[0] += response.created
            counted[1] += len(response.events)

        leader = self.leader()
        number = min(watchers, WATCH_CONNECTIONS)
        links = [await Http2.connect(leader, answered) for _ in range(number)]
        create = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=KEY))
        for link in links:
            link.open(1, "/etcdserverpb.Watch/Watch")
        for count in range(watchers):
            links[count % number].send(1, create.SerializeToString())
        while counted[0] < watchers:
            await asyncio.sleep(0.05)
        writer = _Closed(await Http2.connect(leader, lambda stream, _: writer.answered()))
        writing = asyncio.create_task(writer.put(duration_s))
        await asyncio.sleep(duration_s)
        delivered = counted[1]
        await writing
        for link in [*links, writer.link]:
            link.close()
        return delivered / duration_s

    async def keep_alive(self, clients: int, duration_s: float) -> Load:
        """Keep-alives, each client's one after another on a stream of its own."""
        latencies_s: list[float] = []
        sent_s: dict[int, float] = {}
        leases: list[int] = []
        granted = await Http2.connect(
            self.leader(),
            lambda _, content: leases.append(pb.LeaseGrantResponse.FromString(content).ID),
        )
        for count in range(clients):
            grant = pb.LeaseGrantRequest(TTL=600)
            granted.call(2 * count + 1, "/etcdserverpb.Lease/LeaseGrant", grant.SerializeToString())
        while len(leases) < clients:
            await asyncio.sleep(0.05)
        end_s = time.perf_counter() + duration_s

        def answered(stream: int, content: bytes) -> None:
            now_s = time.perf_counter()
            if now_s < end_s:
                latencies_s.append(now_s - sent_s[stream])
                sent_s[stream] = now_s
                link.send(stream, requests[stream])

        link = await Http2.connect(self.leader(), answered)
        requests = {}
        for count, lease in enumerate(leases):
            stream = 2 * count + 1
            requests[stream] = pb.LeaseIdRequest(ID=lease).SerializeToString()
            link.open(stream, "/etcdserverpb.Lease/LeaseKeepAlive")
            sent_s[stream] = time.perf_counter()
            link.send(stream, requests[stream])
        await asyncio.sleep(duration_s)
        link.close()
        granted.close()
        return load_of(latencies_s, duration_s)

    async def fill(self, keys: int, value_bytes: int, batch: int) -> None:
        """Put so many keys, `batch` of them in a transaction.

        What is open at a time must fit into HTTP/2's initial window of 64 KiB.
        """
        open_calls = asyncio.Semaphore(OPEN_CALLS)
        link = await Http2.connect(self.leader(), lambda stream, _: open_calls.release())
        for number, start in enumerate(range(0, keys, batch)):
            await open_calls.acquire()
            puts = (
                pb.PutRequest(key=b"fill/%08d" % key, value=os.urandom(value_bytes))
                for key in range(start, min(keys, start + batch))
            )
            txn = pb.TxnRequest(success=[pb.RequestOp(request_put=put) for put in puts])
            link.call(2 * number + 1, "/etcdserverpb.KV/Txn", txn.SerializeToString())
        for _ in range(OPEN_CALLS):
            await open_calls.acquire()
        link.close()


class _Closed:
    """Puts, one after another."""

    def __init__(self, link: Http2) -> None:
        self.link = link
        self._answer = asyncio.Event()

    def answered(self) -> None:
        self._answer.set()

    async def put(self, duration_s: float) -> None:
        put = pb.PutRequest(key=KEY, value=os.urandom(256)).SerializeToString()
        stream, end_s = 1, time.perf_counter() + duration_s
        while time.perf_counter() < end_s:
            self._answer.clear()
            self.link.call(stream, "/etcdserverpb.KV/Put", put)
            await self._answer.wait()
            stream += 2


def etcdctl(endpoints: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["etcdctl", f"--endpoints={','.join(endpoints)}", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "ETCDCTL_API": "3"},
        check=False,
    )


def check_perf(endpoints: Sequence[str], load: str) -> tuple[int, bool]:
    """Writes per second that `etcdctl check perf` reached in a minute, and whether it passed."""
    printed = etcdctl(endpoints, "check", "perf", f"--load={load}").stdout
    [found] = re.findall(r"(\d+) writes/s", printed)
    return int(found), printed.rstrip().endswith("PASS")


def resident_bytes(pid: int) -> int:
    fields = pathlib.Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
