"""What is asked of a real etcd and of ours, case by case: commands, or pairs of one and its input.

Arguments are apart by one space each, so two spaces make an empty one. Together these are all
commands and flags of etcdctl 3.4 that end by themselves; those that go on, and those that change
who may do what, are in the tests.

Never asked: a transaction that writes and reads a revision of the future. The member of etcd 3.4.23
that is asked refuses it, the others carry it out, and from then on they differ.
"""

from __future__ import annotations

Command = str | tuple[str, str]
OUTPUTS = ("json", "fields", "table", "simple")


def lines(text: str) -> list[Command]:
    return [*text.strip("\n").split("\n")]


def transactions(*inputs: str, command: str = "txn") -> list[Command]:
    """Inputs: compares, an empty line, operations, an empty line, operations, an empty line."""
    return [(command, text) for text in inputs]


def always(*operations: str) -> str:
    """A transaction that compares nothing."""
    return "\n" + "".join(f"{operation}\n" for operation in operations) + "\n\n"


SORTED: list[Command] = [
    f"get g/ --prefix --sort-by={target} --order={order}"
    for target in ("CREATE", "KEY", "MODIFY", "VALUE", "VERSION")
    for order in ("ASCEND", "DESCEND")
]

CASES: dict[str, list[Command]] = {
    "put and get": lines("""
put a 1
put a 2
get a
get a -w json
get none
get a --rev=2
get a --rev=99
get a --print-value-only
put a 3 --prev-kv
put b
get --prefix a
"""),
    "put": [
        *lines("""
put
put a
put a b c
put p/a 1 --prev-kv -w json
put p/a 2 --prev-kv -w json
put p/a 2 --prev-kv -w fields
put p/a 2 --prev-kv -w table
put p/a --ignore-value=true --prev-kv
put p/a x --ignore-value
put p/none --ignore-value
put p/a x --ignore-lease
put p/none x --ignore-lease
put p/b --ignore-value --ignore-lease
get p/a -w json
put p/a x --lease=123
put p/a x --lease=zz
put p/a x --lease=0
put p/a x --lease=ffffffffffffffff
put p/d --  -dash
get p/d
put  x
put p/e 
get p/e -w json
"""),
        ("put p/c", "hello\nworld\n"),
        "get p/c",
    ],
    "get": [
        *(f"put g/{key} v{key}" for key in "cabde"),
        *("put g/c v2", "put g/a v3"),
        *SORTED,
        *(f"get g/ --prefix -w {output}" for output in OUTPUTS),
        *lines("""
get 
get g/ --prefix
get g/a g/c
get g/c g/a
get g/ --prefix --limit=2 -w json
get g/ --prefix --limit=-1
get g/ --prefix --order=DESCEND
get g/ --prefix --order=descend
get g/ --prefix --order=NONSENSE
get g/ --prefix --sort-by=MODIFY
get g/ --prefix --sort-by=modify
get g/ --prefix --sort-by=NONSENSE
get g/ --prefix --sort-by=VERSION --order=DESCEND --limit=1
get g/ --prefix --order=ASCEND --limit=2 -w json
get g/a g/c --limit=1 --sort-by=VALUE --order=ASCEND -w json
get g/ --prefix --keys-only
get g/ --prefix --keys-only -w json
get g/ --prefix --keys-only --limit=3 --order=DESCEND
get g/ --prefix --print-value-only
get g/ --prefix --print-value-only -w json
get g/ --prefix --hex
get g/ --prefix --count-only -w json
get g/e --from-key --limit=1
get g/a g/c --prefix
get g/a g/c --from-key
get g/ --prefix --from-key
get --prefix
get
get a b c
get g/a --rev=-1
get g/a --rev=1
get g/ --prefix --rev=20 -w json
get g/ --prefix --rev=20 --limit=1 -w json
get g/ --prefix --rev=99999 -w json
get g/b --consistency=s
get g/b --consistency=x
get g/none -w fields
get --nonsense
"""),
    ],
    "del": lines("""
put x/1 a
put x/2 b
put x/3 c
del
del 
del a b c
del x/1 x/3 --prev-kv -w json
del x/ --prefix --from-key
del x/1 x/2 --prefix
del x/2 x/1
del x/ --prefix --prev-kv -w fields
del x/none
del x/none --prev-kv -w json
get x/1 -w json
put x/1 again
get x/1 -w json
del x/1 --prev-kv
put zz/1 a
put zz/2 a
del zz/ --from-key --prev-kv
"""),
    "txn": transactions(
        'value("t") = "x"\n\nput t yes\n\nput t no\nget t\n\n',
        'mod("t") > "0"\nversion("t") = "1"\n\nget t\nput t2 z\n\ndel t\n\n',
        'create("none3") = "0"\n\ndel t --prev-kv\n\n\n',
        'value("q/a") = "x"\n\nput q/a yes\n\nput q/a "no thanks"\nget q/a\n\n',
        'value("q/a") != "x"\nc("q/a") > "0"\n\nget q/a\n\n\n',
        'lease("q/a") = "0"\nlease("q/a") < "1"\nvalue("q/a") > "2"\n\nget q/a\n\nget none\n\n',
        'bogus("q/a") = "x"\n\n\n\n',
        'value("q/a") ~ "x"\n\n\n\n',
        'mod("q/a") = "abc"\n\n\n\n',
        *map(always, ("put q/a", "put q/a b c", "foo q/a", "get none --keys-only")),
        always(),
        always("get q/ --prefix --limit=1 --sort-by=KEY", "del q/ --prefix --prev-kv"),
        always("put q/1 a", "put q/2 b --prev-kv", "del q/3"),
        always("put q/1 a", "put q/1 b"),
        always("put q/1 a", "del q/ --prefix"),
        always("del q/1", "del q/ --prefix"),
        always("del q/1", "put q/1 x"),
        always("get q/1 --rev=1"),
        always("get q/1 --rev=99999"),
        always("put q/l x --lease=123"),
        always("put q/new 1", "put q/none --ignore-value"),
        always(*(f"put q/{number} x" for number in range(128))),
        always(*(f"put q/{number} x" for number in range(129))),
        "".join(f'version("q/{number}") = "1"\n' for number in range(129)) + "\n\n\n",
    )
    + [
        request
        for output in OUTPUTS
        for request in transactions(
            'version("q/v") = "0"\n\nput q/v 1\n\nput q/v 2\nget q/v\n\n',
            always("get q/ --prefix --limit=2", "put q/v 3 --prev-kv", "del q/v9"),
            command=f"txn -w {output}",
        )
    ]
    + [("txn -i", always("get q/v")), "txn a", "get q/new"],
    "compaction": [
        *lines("""
put c 1
put c 2
put c 3
compaction
compaction a
compaction 1 2
compaction 5
compaction 5
compaction 2
compaction -- -1
compaction 99999
compaction 7 -w json
compaction 8 -w fields --physical
get c --rev=4
get c --rev=8
get c --rev=1 -w json
watch c --rev=1
"""),
        *transactions(always("get c --rev=1")),
    ],
    "lease": lines("""
lease
lease grant
lease grant x
lease grant -- -1
lease grant 0
lease grant 1 2
lease grant 9000000001
lease revoke
lease revoke zz
lease revoke 123
lease timetolive
lease timetolive 123
lease timetolive 123 --keys -w json
lease timetolive 123 -w fields
lease timetolive 123 --keys -w table
lease keep-alive
lease keep-alive 123
lease keep-alive 123 --once
"""),
    "alarm": lines("""
alarm
alarm list
alarm list x
alarm list -w json
alarm list -w table
alarm disarm
alarm disarm -w json
"""),
    "endpoint": lines("""
endpoint
endpoint health
endpoint health -w json
endpoint health -w fields
endpoint hashkv --rev=99999
endpoint nonsense
"""),
    "members and leader": lines("""
member
member remove
member remove zz
member add
member update
member promote zz
move-leader
move-leader zz
"""),
    "users and roles, none of which exist": lines("""
user
user list -w json
user list -w table
user get x
user get x --detail
user delete x
user passwd x --interactive=false
user grant-role x y
user revoke-role x y
user add
role
role list -w json
role get x
role get x -w json
role delete x
role add
role grant-permission x read k
role grant-permission x nonsense k
role revoke-permission x k
auth
auth disable
auth enable
get k --user=a:b
"""),
    "others": lines("""
defrag
defrag -w json
defrag x
snapshot
snapshot save
snapshot status /nowhere/at/all.db
snapshot restore /nowhere/at/all.db
make-mirror
lock
elect
elect name
nonsense
version
check
check perf --load=nonsense
"""),
    "large requests": [
        *(("put big", "x" * size) for size in (1_500_000, 1_572_000, 1_572_864, 1_600_000)),
        *(("put big", "x" * size) for size in (2_000_000, 2_097_152, 2_100_000, 3_000_000)),
        "get none --print-value-only",
    ],
}
