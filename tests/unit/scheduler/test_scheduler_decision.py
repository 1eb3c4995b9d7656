"""The columns against a plain oracle that looks at one node after the other."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.scheduler.columns import Columns
from cluster.scheduler.framework import decide
from cluster.scheduler.profiles import default_profile
from cluster.scheduler.requests import PodRequest

GI = 1024**3


def node(name, *, cpu=4000, memory=8 * GI, pods=10, labels=None, taints=(), cordoned=False, gpu=0):
    allocatable = {"cpu": f"{cpu}m", "memory": str(memory), "pods": str(pods)}
    if gpu:
        allocatable["example.com/gpu"] = str(gpu)
    spec = {"taints": list(taints)}
    if cordoned:
        spec["unschedulable"] = True
    metadata = {"name": name, "labels": labels or {}}
    return {"metadata": metadata, "spec": spec, "status": {"allocatable": allocatable}}


def pod(name="p", requests=None, port=None, **spec):
    container = {"name": "c", "resources": {"requests": requests or {}}}
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": port[1], "hostIP": port[0]}]
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}}


def columns_of(nodes, placed=()):
    columns = Columns()
    for item in nodes:
        columns.put_node(item)
    for where, item in placed:
        columns.put_pod(where, PodRequest.of(item))
    return columns


def outcome(nodes, item, placed=()):
    return decide(columns_of(nodes, placed), PodRequest.of(item), default_profile())


def test_the_emptier_node_is_chosen():
    busy = pod("busy", {"cpu": "2", "memory": "4Gi"})
    result = outcome([node("a"), node("b")], pod(requests={"cpu": "1"}), [("a", busy)])
    assert result.best == ("b",)


def test_equally_good_nodes_are_all_named():
    assert set(outcome([node("a"), node("b")], pod()).best) == {"a", "b"}


def test_the_message_counts_reasons_as_upstream_words_them():
    taint = {"key": "node-role", "value": "", "effect": "NoSchedule"}
    nodes = [node("a", taints=[taint]), node("b", cpu=500), node("c", cpu=500)]
    result = outcome(nodes, pod(requests={"cpu": "1"}))
    assert result.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role: }, "
        "2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful "
        "for scheduling, 2 No preemption victims found for incoming pod."
    )


def test_without_nodes_the_message_says_so():
    assert outcome([], pod()).message == "no nodes available to schedule pods"


def test_one_node_can_lack_several_resources():
    result = outcome([node("a", cpu=1, memory=1)], pod(requests={"cpu": "1", "memory": "1Gi"}))
    assert result.reasons == Counter({"Insufficient cpu": 1, "Insufficient memory": 1})


def test_an_init_container_counts_when_it_needs_more_than_the_rest():
    item = pod(requests={"cpu": "1"})
    item["spec"]["initContainers"] = [{"name": "i", "resources": {"requests": {"cpu": "3"}}}]
    assert PodRequest.of(item).requests == {"cpu": 3000}
    item["spec"]["initContainers"].insert(
        0, {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}
    )
    assert PodRequest.of(item).requests == {"cpu": 5000}


def test_a_node_that_is_registered_again_keeps_the_pods_that_run_on_it():
    columns = columns_of([node("a"), node("b")], [("a", pod("x", {"cpu": "3"}))])
    columns.remove_node("a")
    columns.put_node(node("a"))
    assert columns.requested("cpu")[columns.rows["a"]] == 3000
    assert columns.requested("cpu")[columns.rows["b"]] == 0


def test_telling_of_a_pod_twice_or_elsewhere_accounts_it_once():
    columns = columns_of([node("a"), node("b")])
    request = PodRequest.of(pod("x", {"cpu": "1"}))
    for where in ("a", "a", "b"):
        columns.put_pod(where, request)
    assert [int(n) for n in columns.requested("cpu")] == [0, 1000]
    assert columns.remove_pod(request.uid)
    assert not columns.requested("cpu").any()
    assert not columns.remove_pod(request.uid)


def test_preferred_affinity_outweighs_emptiness():
    preference = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    affinity = {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 10, "preference": preference}
            ]
        }
    }
    nodes = [node("a"), node("b", labels={"disk": "ssd"})]
    placed = [("b", pod("x", {"cpu": "1"}))]
    assert outcome(nodes, pod(affinity=affinity), placed).best == ("b",)


# The oracle

LABELS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["1", "2", "7", "no"]))
TAINTS = st.lists(
    st.builds(
        lambda k, e: {"key": k, "value": "v", "effect": e},
        st.sampled_from(["t", "u"]),
        st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
    ),
    max_size=2,
    unique_by=lambda t: (t["key"], t["effect"]),
)
TOLERATIONS = st.lists(
    st.fixed_dictionaries(
        {"operator": st.sampled_from(["Exists", "Equal"])},
        optional={
            "key": st.sampled_from(["t", "u"]),
            "value": st.just("v"),
            "effect": st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
        },
    ),
    max_size=2,
)
EXPRESSION = st.one_of(
    st.builds(
        lambda k, o, v: {"key": k, "operator": o, "values": v},
        st.sampled_from("xyz"),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["1", "2", "7"]), min_size=1, max_size=2),
    ),
    st.builds(
        lambda k, o: {"key": k, "operator": o},
        st.sampled_from("xyz"),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
    st.builds(
        lambda k, o, v: {"key": k, "operator": o, "values": [v]},
        st.sampled_from("xyz"),
        st.sampled_from(["Gt", "Lt"]),
        st.sampled_from(["1", "5", "no"]),
    ),
)
TERM = st.builds(lambda e: {"matchExpressions": e}, st.lists(EXPRESSION, max_size=2))
AFFINITY = st.fixed_dictionaries(
    {},
    optional={
        "requiredDuringSchedulingIgnoredDuringExecution": st.builds(
            lambda t: {"nodeSelectorTerms": t}, st.lists(TERM, min_size=1, max_size=2)
        ),
        "preferredDuringSchedulingIgnoredDuringExecution": st.lists(
            st.builds(lambda w, t: {"weight": w, "preference": t}, st.integers(1, 100), TERM),
            max_size=2,
        ),
    },
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["0", "100m", "1", "2500m"]),
        "memory": st.sampled_from(["64Mi", "1Gi", "5G"]),
        "example.com/gpu": st.sampled_from(["1", "2"]),
    },
)
PORTS = st.none() | st.tuples(
    st.sampled_from(["0.0.0.0", "127.0.0.1", "127.0.0.2"]), st.sampled_from([80, 81])
)


@st.composite
def pods_(draw, name):
    spec = {"tolerations": draw(TOLERATIONS), "affinity": {"nodeAffinity": draw(AFFINITY)}}
    if draw(st.booleans()):
        spec["nodeSelector"] = draw(LABELS)
    if draw(st.integers(0, 9)) == 0:
        spec["nodeName"] = draw(st.sampled_from(["n0", "n1", "gone"]))
    return pod(name, draw(REQUESTS), draw(PORTS), **spec)


@st.composite
def clusters(draw):
    nodes = [
        node(
            f"n{i}",
            cpu=draw(st.sampled_from([0, 1000, 4000])),
            memory=draw(st.sampled_from([GI, 8 * GI])),
            pods=draw(st.integers(0, 3)),
            labels=draw(LABELS),
            taints=draw(TAINTS),
            cordoned=draw(st.booleans()),
            gpu=draw(st.integers(0, 2)),
        )
        for i in range(draw(st.integers(1, 5)))
    ]
    placed = []
    for i in range(draw(st.integers(0, 4))):
        placed.append((draw(st.sampled_from(nodes))["metadata"]["name"], draw(pods_(f"q{i}"))))
    return nodes, placed, draw(pods_("p"))


def covers(tolerations, taint):
    for t in tolerations:
        if t.get("effect") not in (None, taint["effect"]) or t.get("key") not in (
            None,
            taint["key"],
        ):
            continue
        if t["operator"] == "Exists" or ("key" in t and t.get("value", "") == taint["value"]):
            return True
    return False


def holds(expression, labels):
    value, operator = labels.get(expression["key"]), expression["operator"]
    values = expression.get("values", [])
    if operator in ("Gt", "Lt"):
        try:
            a, b = int(value), int(values[0])
        except (TypeError, ValueError):
            return False
        return a > b if operator == "Gt" else a < b
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[operator]


def term_holds(term, labels):
    expressions = term["matchExpressions"]
    return bool(expressions) and all(holds(e, labels) for e in expressions)


def requests_of(item):
    return PodRequest.of(item).requests


def clash(one, other):
    return any(
        p.number == q.number
        and p.protocol == q.protocol
        and (p.address == q.address or "0.0.0.0" in (p.address, q.address))
        for p in PodRequest.of(one).ports
        for q in PodRequest.of(other).ports
    )


def oracle_reasons(item, where, there):
    """None if the node is fine, else the reasons of the first filter that refuses it."""
    spec, labels = item["spec"], where["metadata"]["labels"]
    cordon = {"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}
    if where["spec"].get("unschedulable") and not covers(spec["tolerations"], cordon):
        return ["node(s) were unschedulable"]
    if spec.get("nodeName") not in (None, where["metadata"]["name"]):
        return ["node(s) didn't match the requested node name"]
    hard = [t for t in where["spec"]["taints"] if t["effect"] != "PreferNoSchedule"]
    if any(not covers(spec["tolerations"], t) for t in hard):
        return ["taint"]
    affinity = spec["affinity"]["nodeAffinity"]
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    selected = all(labels.get(k) == v for k, v in spec.get("nodeSelector", {}).items())
    if not selected or (
        required and not any(term_holds(t, labels) for t in required["nodeSelectorTerms"])
    ):
        return ["node(s) didn't match Pod's node affinity/selector"]
    if any(clash(item, other) for other in there):
        return ["node(s) didn't have free ports for the requested pod ports"]
    return lacking(item, where, there)


def lacking(item, where, there):
    allocatable = where["status"]["allocatable"]
    capacity = {k: int(v.removesuffix("m")) for k, v in allocatable.items()}
    reasons = ["Too many pods"] if len(there) + 1 > capacity["pods"] else []
    for name, number in requests_of(item).items():
        used = sum(requests_of(other).get(name, 0) for other in there)
        if number > 0 and number + used > capacity.get(name, 0):
            reasons.append(f"Insufficient {name}")
    return reasons or None


def capacity_of(where, name):
    return int(where["status"]["allocatable"][name].removesuffix("m"))


def oracle_scores(item, feasible, there):
    spec = item["spec"]
    soft, preferred = {}, {}
    tolerations = [t for t in spec["tolerations"] if t.get("effect") in (None, "PreferNoSchedule")]
    for where in feasible:
        name = where["metadata"]["name"]
        soft[name] = sum(
            t["effect"] == "PreferNoSchedule" and not covers(tolerations, t)
            for t in where["spec"]["taints"]
        )
        terms = spec["affinity"]["nodeAffinity"].get(
            "preferredDuringSchedulingIgnoredDuringExecution", []
        )
        labels = where["metadata"]["labels"]
        preferred[name] = sum(t["weight"] for t in terms if term_holds(t["preference"], labels))
    result = {}
    for where in feasible:
        name = where["metadata"]["name"]
        most = max(soft.values())
        taint = 100 - 100 * soft[name] // most if most else 100
        most = max(preferred.values())
        affinity = 100 * preferred[name] // most if most else 0
        others = there(name)
        result[name] = (
            3 * taint + 2 * affinity + least(item, where, others) + balance(item, where, others)
        )
    return result


def least(item, where, others):
    total = weight = 0
    for name in ("cpu", "memory"):
        capacity = capacity_of(where, name)
        used = sum(PodRequest.of(p).scored[name] for p in [item, *others])
        if capacity:
            weight += 1
            total += (capacity - used) * 100 // capacity if used <= capacity else 0
    return total // weight if weight else 0


def balance(item, where, others):
    wants = requests_of(item)
    if not (wants.get("cpu") or wants.get("memory")):
        return 0
    shares = []
    for name in ("cpu", "memory"):
        used = sum(requests_of(p).get(name, 0) for p in [item, *others])
        if capacity_of(where, name):
            shares.append(min(1.0, used / capacity_of(where, name)))
    return int((1 - abs(shares[0] - shares[1]) / 2) * 100) if len(shares) == 2 else 100


@settings(max_examples=400, deadline=None, print_blob=True)
@given(clusters())
def test_columns_decide_as_a_plain_loop_over_nodes_does(case):
    nodes, placed, item = case

    def there(name):
        return [p for where, p in placed if where == name]

    verdicts = {
        n["metadata"]["name"]: oracle_reasons(item, n, there(n["metadata"]["name"])) for n in nodes
    }
    feasible = [n for n in nodes if verdicts[n["metadata"]["name"]] is None]
    result = outcome(nodes, item, placed)
    if feasible:
        scores = oracle_scores(item, feasible, there)
        highest = max(scores.values())
        assert set(result.best) == {name for name, s in scores.items() if s == highest}
        assert result.feasible_count == len(feasible)
        return
    assert result.best == ()
    wanted = Counter(reason for reasons in verdicts.values() for reason in reasons)
    found = Counter()
    for reason, count in result.reasons.items():
        found["taint" if "untolerated taint" in reason else reason] += count
    assert found == wanted


@settings(max_examples=100, deadline=None, print_blob=True)
@given(clusters(), st.data())
def test_rows_stay_right_while_nodes_come_and_go(case, data):
    nodes, placed, item = case
    columns = columns_of(nodes, placed)
    for name in data.draw(st.lists(st.sampled_from([n["metadata"]["name"] for n in nodes]))):
        columns.remove_node(name)
        again = next(n for n in nodes if n["metadata"]["name"] == name)
        if data.draw(st.booleans()):
            columns.put_node(again)
    for n in nodes:
        columns.put_node(n)
    fresh = decide(columns_of(nodes, placed), PodRequest.of(item), default_profile())
    aged = decide(columns, PodRequest.of(item), default_profile())
    assert set(aged.best) == set(fresh.best)
    assert sum(aged.reasons.values()) == sum(fresh.reasons.values())
