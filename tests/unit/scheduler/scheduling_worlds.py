"""Random clusters for Hypothesis: small enough that plugins often disagree about the nodes."""

from __future__ import annotations

from hypothesis import strategies as st
from scheduling_objects import GI, HOST, ZONE, node, pod
from scheduling_oracle import MI, World

VALUES = ["1", "2", "7", "no"]
LABELS = st.dictionaries(st.sampled_from("xyz"), st.sampled_from(VALUES), max_size=2)
EFFECTS = st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"])
TAINTS = st.lists(
    st.builds(
        lambda k, e: {"key": k, "value": "v", "effect": e}, st.sampled_from(["t", "u"]), EFFECTS
    ),
    max_size=2,
    unique_by=lambda t: (t["key"], t["effect"]),
)
TOLERATIONS = st.lists(
    st.fixed_dictionaries(
        {"operator": st.sampled_from(["Exists", "Equal"])},
        optional={"key": st.sampled_from(["t", "u"]), "value": st.just("v"), "effect": EFFECTS},
    ),
    max_size=2,
)


def expressions(operators, values):
    return st.one_of(
        st.builds(
            lambda k, o, v: {"key": k, "operator": o, "values": v},
            st.sampled_from("xyz"),
            st.sampled_from(["In", "NotIn"]),
            st.lists(values, min_size=1, max_size=2),
        ),
        st.builds(
            lambda k, o: {"key": k, "operator": o},
            st.sampled_from("xyz"),
            st.sampled_from(["Exists", "DoesNotExist"]),
        ),
        *operators,
    )


COMPARED = st.builds(
    lambda k, o, v: {"key": k, "operator": o, "values": [v]},
    st.sampled_from("xyz"),
    st.sampled_from(["Gt", "Lt"]),
    st.sampled_from(["1", "5", "no"]),
)
NAMED = st.builds(
    lambda n: {"matchFields": [{"key": "metadata.name", "operator": "In", "values": n}]},
    st.lists(st.sampled_from(["n0", "n1", "n2"]), min_size=1, max_size=2, unique=True),
)
NODE_TERM = st.builds(
    lambda e, n: {"matchExpressions": e} | n,
    st.lists(expressions([COMPARED], st.sampled_from(VALUES)), max_size=2),
    st.one_of(st.just({}), st.just({}), NAMED),
)
REQUIRED, PREFERRED = (
    f"{w}DuringSchedulingIgnoredDuringExecution" for w in ("required", "preferred")
)
NODE_AFFINITY = st.fixed_dictionaries(
    {},
    optional={
        REQUIRED: st.builds(
            lambda t: {"nodeSelectorTerms": t}, st.lists(NODE_TERM, min_size=1, max_size=2)
        ),
        PREFERRED: st.lists(
            st.builds(lambda w, t: {"weight": w, "preference": t}, st.integers(1, 100), NODE_TERM),
            max_size=2,
        ),
    },
)
APPS = st.sampled_from(["a", "b"])
POD_LABELS = st.fixed_dictionaries({"app": APPS}, optional={"x": st.sampled_from(VALUES[:2])})
SELECTOR = st.one_of(
    st.builds(lambda a: {"matchLabels": {"app": a}}, APPS),
    st.builds(lambda e: {"matchExpressions": [e]}, expressions([], st.sampled_from(VALUES[:2]))),
    st.just({}),
    st.none(),
)
KEYS = st.sampled_from([HOST, ZONE, "x"])
POD_TERM = st.fixed_dictionaries(
    {"labelSelector": SELECTOR, "topologyKey": KEYS},
    optional={
        "namespaces": st.just(["other"]),
        "namespaceSelector": st.sampled_from([{}, {"matchLabels": {"team": "red"}}]),
        "matchLabelKeys": st.just(["x"]),
        "mismatchLabelKeys": st.just(["app"]),
    },
)
POD_AFFINITY = st.fixed_dictionaries(
    {},
    optional={
        REQUIRED: st.lists(POD_TERM, min_size=1, max_size=2),
        PREFERRED: st.lists(
            st.builds(
                lambda w, t: {"weight": w, "podAffinityTerm": t}, st.integers(1, 100), POD_TERM
            ),
            min_size=1,
            max_size=2,
        ),
    },
)
CONSTRAINT = st.fixed_dictionaries(
    {
        "maxSkew": st.integers(1, 2),
        "topologyKey": KEYS,
        "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
        "labelSelector": SELECTOR,
    },
    optional={
        "minDomains": st.integers(1, 3),
        "nodeAffinityPolicy": st.sampled_from(["Honor", "Ignore"]),
        "nodeTaintsPolicy": st.sampled_from(["Honor", "Ignore"]),
        "matchLabelKeys": st.just(["x"]),
    },
)
SKEWED = st.fixed_dictionaries(
    {
        "maxSkew": st.integers(1, 2),
        "topologyKey": st.sampled_from([ZONE, HOST]),
        "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
        "labelSelector": st.sampled_from([{"matchLabels": {"app": "a"}}, {}]),
    },
    optional={"minDomains": st.integers(1, 4), "nodeTaintsPolicy": st.just("Honor")},
)
"""Constraints that something matches."""
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


FOCUS = st.sampled_from(["anything", "nodes", "spread", "spread", "affinity"])
"""What a world is about: with everything at once, most nodes are ruled out by the first filter."""


def rarely(draw, one_in):
    return draw(st.integers(0, one_in - 1)) == 0


@st.composite
def pods(draw, name, focus="anything", subject=False):
    """`subject`: it is the one to be scheduled, so it has what the world is about."""
    affinity = {}
    spec = {"affinity": affinity}
    if focus in ("anything", "nodes"):
        _about_nodes(draw, spec)
    if focus in ("anything", "affinity"):
        for kind in ("podAffinity", "podAntiAffinity"):
            if (subject and focus == "affinity") or rarely(draw, 3):
                affinity[kind] = draw(POD_AFFINITY)
    if (focus == "spread" and subject) or (focus == "anything" and draw(st.booleans())):
        kind = CONSTRAINT if focus == "anything" or rarely(draw, 4) else SKEWED
        constraints = draw(st.lists(kind, min_size=focus == "spread", max_size=2))
        spec["topologySpreadConstraints"] = [
            c if c["whenUnsatisfiable"] == "DoNotSchedule" else _without(c, "minDomains")
            for c in constraints
        ]
    space = draw(st.sampled_from(["ns"] * 5 + ["other"]))
    asked = draw(REQUESTS) if focus in ("anything", "nodes") else {}
    port = draw(PORTS) if focus in ("anything", "nodes") else None
    made = pod(name, asked, port, draw(POD_LABELS), space, **spec)
    made["spec"]["containers"][0]["image"] = draw(st.sampled_from(["big", "small:1", "none"]))
    if not subject and rarely(draw, 6):
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return made


def _about_nodes(draw, spec):
    if draw(st.booleans()):
        spec["tolerations"] = draw(TOLERATIONS)
    if rarely(draw, 3):
        spec["affinity"]["nodeAffinity"] = draw(NODE_AFFINITY)
    if rarely(draw, 4):
        spec["nodeSelector"] = draw(LABELS)
    if rarely(draw, 12):
        spec["nodeName"] = draw(st.sampled_from(["n0", "n1", "gone"]))
    if rarely(draw, 4):
        spec["overhead"] = {"cpu": "250m"}


def _without(mapping, key):
    return {k: v for k, v in mapping.items() if k != key}


@st.composite
def nodes(draw, name, focus="anything"):
    labels = draw(LABELS)
    complete = focus == "spread" and not rarely(draw, 8)
    if complete or not rarely(draw, 6):
        labels[HOST] = name
    if complete or not rarely(draw, 5):
        labels[ZONE] = draw(st.sampled_from(["za", "zb", "zc"]))
    small = focus in ("anything", "nodes")
    made = node(
        name,
        cpu=draw(st.sampled_from([0, 1000, 4000, 8000])) if small else 8000,
        memory=draw(st.sampled_from([GI, 8 * GI, 16 * GI])) if small else 16 * GI,
        pods=draw(st.sampled_from([0, 3, 20])) if small else 20,
        labels=labels,
        taints=draw(TAINTS) if (small and rarely(draw, 3)) or rarely(draw, 8) else [],
        cordoned=small and rarely(draw, 6),
        gpu=draw(st.integers(0, 2)) if small else 0,
    )
    made["status"]["images"] = draw(
        st.lists(
            st.sampled_from(
                [
                    {"names": ["big:latest"], "sizeBytes": 800 * MI},
                    {"names": ["small:1", "small:2"], "sizeBytes": 90 * MI},
                ]
            ),
            max_size=2,
            unique_by=lambda i: i["names"][0],
        )
    )
    return made


@st.composite
def worlds(draw):
    focus = draw(FOCUS)
    found = [draw(nodes(f"n{i}", focus)) for i in range(draw(st.integers(1, 6)))]
    placed = [
        (draw(st.sampled_from(found))["metadata"]["name"], draw(pods(f"q{i}", focus)))
        for i in range(draw(st.integers(0, 9)))
    ]
    services = [
        {"metadata": {"name": f"s{i}", "namespace": "ns"}, "spec": {"selector": chosen}}
        for i, chosen in enumerate(
            draw(st.lists(st.builds(lambda a: {"app": a}, APPS), max_size=2))
        )
    ]
    namespaces = {"ns": {"team": "red"}, "other": draw(st.sampled_from([{}, {"team": "red"}]))}
    return World(found, placed, draw(pods("p", focus, subject=True)), namespaces, services)
