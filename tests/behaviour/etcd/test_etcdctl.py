"""The real etcdctl runs the same commands on a real etcd and on ours: the answers are the same.

Both clusters are new and have three members, so that even revisions agree; only ids and terms are
made alike before comparing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import pathlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest


def _beside(name: str) -> Any:
    path = pathlib.Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clusters, CASES = _beside("etcd_clusters"), _beside("etcdctl_cases").CASES

pytestmark = pytest.mark.skipif(
    not (shutil.which("etcd") and shutil.which("etcdctl")),
    reason="needs etcd and etcdctl (Debian's etcd-server and etcd-client)",
)
Ctl = Any


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ctl, Ctl]]:
    folder = tmp_path_factory.mktemp("clusters")
    tls = clusters.make_certificates(folder)
    ctls = []
    with contextlib.ExitStack() as stack:
        for kind in (clusters.EtcdCluster, clusters.OwnCluster):
            (folder / kind.__name__).mkdir()
            cluster = kind(folder / kind.__name__, tls)
            stack.callback(cluster.stop)
            ctls.append(clusters.Etcdctl(cluster.endpoints, tls))
        for ctl in ctls:
            ctl.wait_ready()
            ctl.wait_for_terms()
        yield ctls[0], ctls[1]


def alike(text: str) -> str:
    """Without what differs between any two clusters: ids, terms, addresses, times."""
    text = re.sub(r'"(cluster_id|member_id|raft_term|ID|id|leader)":\d+', r'"\1":0', text)
    text = re.sub(r'"(ClusterID|MemberID|RaftTerm|ID|Leader)" : \d+', r'"\1" : 0', text)
    text = re.sub(r"\b[0-9a-f]{13,16}\b", "ID", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    return re.sub(r"\b[\d.]+(ms|µs|s)\b *", "TIME", text)


def script(*commands: str | tuple[str, str]) -> Callable[[Ctl], list[Any]]:
    """Commands one after another; a pair is a command with what it reads."""

    def run(ctl: Ctl) -> list[Any]:
        answers = []
        for command in commands:
            line, stdin = command if isinstance(command, tuple) else (command, "")
            outcome = ctl(*line.split(" "), stdin=stdin, endpoints=1)
            answers.append((line, outcome.code, alike(outcome.out), alike(outcome.error)))
        return answers

    return run


def lines_of(ctl: Ctl, *arguments: str, number: int) -> list[str]:
    """The first lines of a command that does not end by itself."""
    process: subprocess.Popen[str] = ctl.start(*arguments)
    try:
        return [alike(process.stdout.readline()) for _ in range(number)]  # type: ignore[union-attr]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_of_etcd(both: tuple[Ctl, Ctl], name: str) -> None:
    etcd, ours = map(script(*CASES[name]), both)
    differing = [pair for pair in zip(ours, etcd, strict=True) if pair[0] != pair[1]]
    assert differing == []


def test_members_are_listed_with_what_is_known_of_them(both: tuple[Ctl, Ctl]) -> None:
    def seen(ctl: Ctl) -> list[Any]:
        statuses = json.loads(ctl("endpoint", "status", "-w", "json").out)
        return [
            sorted(alike(ctl("member", "list").out).splitlines()),
            sorted(alike(ctl("member", "list", "-w", "fields").out).splitlines()),
            sorted(alike(ctl("member", "list", "-w", "json").out)),  # in an order of ids
            ctl("endpoint", "health").code,
            len(ctl("endpoint", "health", "--cluster").err.splitlines()),
            [sorted(status["Status"]) for status in statuses],
            len({status["Status"]["leader"] for status in statuses}),
            len(ctl("endpoint", "status", "-w", "table").out.splitlines()),
            [sorted(h["HashKV"]) for h in hashes(ctl)],
        ]

    def hashes(ctl: Ctl) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(ctl("endpoint", "hashkv", "-w", "json").out)
        return found

    etcd, ours = map(seen, both)
    assert ours == etcd
    assert len({found["HashKV"]["hash"] for found in hashes(both[1])}) == 1


def test_watches_see_what_etcd_shows(both: tuple[Ctl, Ctl]) -> None:
    seen = []
    for ctl in both:
        revision = json.loads(ctl("put", "w/1", "a", "-w", "json").out)["header"]["revision"]
        script("put w/2 b", "del w/1", "put w/1 c")(ctl)
        common = ["--prefix", f"--rev={revision}"]
        seen.append(
            [
                lines_of(ctl, "watch", "w/", *common, number=11),
                lines_of(ctl, "watch", "w/", "--prev-kv", *common, number=12),
                revision,
            ]
        )
    assert seen[0] == seen[1]


def test_a_watch_from_a_compacted_revision_is_cancelled(both: tuple[Ctl, Ctl]) -> None:
    ends = []
    for ctl in both:
        script("put w/3 a", "put w/3 b")(ctl)
        revision = json.loads(ctl("get", "w/3", "-w", "json").out)["header"]["revision"]
        ctl("compaction", str(revision))
        outcome = ctl("watch", "w/3", "--rev=2")
        ends.append((outcome.code, outcome.out, alike(outcome.error)))
    assert ends[0] == ends[1]


def test_leases_live_and_end_as_in_etcd(both: tuple[Ctl, Ctl]) -> None:
    transcripts = []
    for ctl in both:
        granted = ctl("lease", "grant", "100").out
        lease = granted.split()[1]
        steps = [
            granted,
            *(ctl("put", f"l/{n}", "x", f"--lease={lease}").out for n in range(2)),
            sorted(alike(ctl("lease", "timetolive", lease, "--keys").out)),  # in any order
            ctl("lease", "keep-alive", "--once", lease).out,
            ctl("lease", "list").out,
            ctl("get", "l/0", "-w", "json").out,
            ctl("lease", "revoke", lease).out,
            ctl("get", "l/", "--prefix").out,
            ctl("lease", "timetolive", lease).out,
            ctl("lease", "revoke", lease).error,
            ctl("lease", "keep-alive", "--once", lease).error,
            ctl("lease", "grant", "9000000001").error,
            ctl("lease", "grant", "1").out,
        ]
        hidden = [re.sub(r'"lease":\d+', '"lease":0', alike(str(step))) for step in steps]
        transcripts.append([re.sub(r"remaining\(\d+s\)", "remaining", step) for step in hidden])
    assert transcripts[0] == transcripts[1]


def test_locks_and_elections_of_etcdctl_work(both: tuple[Ctl, Ctl]) -> None:
    seen = []
    for ctl in both:
        holder = ctl.start("lock", "mutex")
        key = holder.stdout.readline()
        assert key.startswith("mutex/")
        guarded = ctl.start("lock", "mutex", "echo", "mine")
        holder.terminate()
        holder.communicate()
        out, _ = guarded.communicate(timeout=60)
        candidate = ctl.start("elect", "election", "me")
        elected = [candidate.stdout.readline() for _ in range(2)]
        listener = lines_of(ctl, "elect", "-l", "election", number=2)
        candidate.terminate()
        candidate.communicate()
        seen.append([out, elected[1], listener[1]])
    assert seen[0] == seen[1]
    assert seen[1] == ["mine\n", "me\n", "me\n"]


def test_members_agree_on_their_hashes(both: tuple[Ctl, Ctl]) -> None:
    ours = both[1]
    ours("put", "h", "1")
    hashed = json.loads(ours("endpoint", "hashkv", "-w", "json").out)
    assert len({entry["HashKV"]["hash"] for entry in hashed}) == 1
    assert len(hashed) == 3


def test_leadership_moves_to_the_member_that_is_named(both: tuple[Ctl, Ctl]) -> None:
    for ctl in both:
        statuses = json.loads(ctl("endpoint", "status", "-w", "json").out)
        leader = statuses[0]["Status"]["leader"]
        ids = [entry["Status"]["header"]["member_id"] for entry in statuses]
        target = next(member for member in ids if member != leader)
        assert ctl("move-leader", f"{target:x}").code == 0
        statuses = json.loads(ctl("endpoint", "status", "-w", "json").out)
        assert target in [entry["Status"]["leader"] for entry in statuses]
        assert ctl("move-leader", "1234567").code != 0


def now(ctl: Ctl) -> int:
    found: int = json.loads(ctl("get", "none", "-w", "json").out)["header"]["revision"]
    return found


def test_watches_are_asked_for_interactively_and_run_commands(both: tuple[Ctl, Ctl]) -> None:
    def case(ctl: Ctl) -> list[str]:
        start = now(ctl) + 1
        script("put i/1 a", "put i/2 b", "del i/1", "put i/3 c")(ctl)
        process = ctl.start("watch", "-i")
        try:
            for line in ("i/1", "i/ --prefix --prev-kv", "i/2 i/3"):
                process.stdin.write(f"watch {line} --rev={start}\n")
                process.stdin.flush()
            asked = sorted(alike(process.stdout.readline()) for _ in range(6 + 14 + 3))
        finally:
            process.kill()
            process.communicate()
        shell = ["sh", "-c", "env | grep ^ETCD_WATCH | sort"]
        ran = lines_of(ctl, "watch", "i/3", f"--rev={start}", "--", *shell, number=4)
        assert "" not in (*asked, *ran)
        return [*asked, *ran]

    etcd, ours = map(case, both)
    assert ours == etcd


def test_commands_run_under_a_lock(both: tuple[Ctl, Ctl]) -> None:
    def case(ctl: Ctl) -> list[Any]:
        held = ctl("lock", "name", "--", "sh", "-c", "echo held; exit 3")
        env = ctl("lock", "name", "--ttl=5", "--", "sh", "-c", 'test -n "$ETCD_LOCK_KEY"')
        return [held.code, held.out, held.error, env.code, ctl("get", "name", "--prefix").out]

    etcd, ours = map(case, both)
    assert ours == etcd


def test_a_mirror_follows_its_source(both: tuple[Ctl, Ctl]) -> None:
    for ctl in both:
        script("put mm/1 a", "put mm/2 b")(ctl)
        files = [f"--dest-{n}={ctl.tls[f]}" for n, f in (("cacert", "ca"), ("cert", "cert"))]
        process = ctl.start(
            *("make-mirror", "--prefix=mm/", "--dest-prefix=copy/", *files),
            *(f"--dest-key={ctl.tls['key']}", "--dest-insecure-transport=false"),
            f"https://{ctl.endpoints[0]}",
        )
        try:
            wait_for(ctl, "copy/1\na\ncopy/2\nb\n")
            script("put mm/3 c", "del mm/1", "put mm/2 d")(ctl)
            wait_for(ctl, "copy/2\nd\ncopy/3\nc\n")
        finally:
            process.kill()
            process.communicate()


def wait_for(ctl: Ctl, expected: str) -> None:
    deadline_s = time.monotonic() + clusters.PATIENCE_S
    while (found := ctl("get", "copy/", "--prefix").out) != expected:
        assert time.monotonic() < deadline_s, found
        time.sleep(0.1)


def test_users_and_roles_are_those_of_etcd(both: tuple[Ctl, Ctl]) -> None:
    """Last, for nobody else can speak to the clusters meanwhile."""
    root, ann = "--user=root:r ", "--user=ann:a "
    run = script(
        "auth enable",
        "user add root:r",
        "auth enable",
        "role add root",
        "user grant-role root root",
        "user add ann:a",
        "user add ann:a",
        "role add some",
        "role add some",
        "role grant-permission some read x",
        "user grant-role ann some",
        "role grant-permission some --prefix=true write y/",
        "user grant-role ann none",
        "user get ann",
        "role get some",
        "user list",
        "role list",
        "user delete nobody",
        "user revoke-role ann none",
        "role revoke-permission some zzz",
        "auth enable",
        "get x",
        root + "put x 1",
        ann + "get x",
        ann + "put x 2",
        ann + "put y/1 2",
        ann + "get y/1",
        ann + "get x --prefix",
        ann + "del y/ --prefix",
        "--user=ann:b get x",
        ann + "user list",
        ann + "user get ann",
        ann + "role get some",
        ann + "role get root",
        ann + "user get root",
        ann + "auth disable",
        ann + "put y/2 1 --prev-kv",
        root + "user delete root",
        root + "user revoke-role root root",
        root + "role delete root",
        root + "role delete some",
        ann + "get x",
        root + "user delete ann",
        root + "user passwd none --interactive=false",
        root + "auth disable",
        "get x",
    )
    etcd, ours = map(run, both)
    differing = [pair for pair in zip(ours, etcd, strict=True) if pair[0] != pair[1]]
    assert differing == []
