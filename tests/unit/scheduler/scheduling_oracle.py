"""What upstream's plugins say of one node after another: slow, plain, and written apart.

`World` is a cluster and a pod; `reasons` and `scores` are what a scheduler must agree with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

HOST, ZONE = "kubernetes.io/hostname", "topology.kubernetes.io/zone"
MI = 1024 * 1024


@dataclass
class World:
    nodes: list
    placed: list  # (node name, pod)
    pod: dict
    namespaces: dict = field(default_factory=dict)
    services: list = field(default_factory=list)

    def on(self, node):
        return [p for where, p in self.placed if where == node["metadata"]["name"]]

    @property
    def everyone(self):
        for node in self.nodes:
            for pod in self.on(node):
                yield node, pod


def labels(obj):
    return obj["metadata"].get("labels") or {}


# Selectors and tolerations


def selects(selector, found):
    if selector is None:
        return False
    wanted = selector.get("matchLabels", {})
    if any(found.get(k) != v for k, v in wanted.items()):
        return False
    return all(holds(e, found) for e in selector.get("matchExpressions", []))


def holds(expression, found):
    value, operator = found.get(expression["key"]), expression["operator"]
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


def covers(tolerations, taint):
    for t in tolerations:
        if t.get("effect") not in (None, taint["effect"]):
            continue
        if t.get("key") not in (None, taint["key"]):
            continue
        if t.get("operator") == "Exists" or ("key" in t and t.get("value", "") == taint["value"]):
            return True
    return False


def untolerated(world, node):
    """The first taint that keeps the pod off."""
    for taint in node["spec"]["taints"]:
        if taint["effect"] != "PreferNoSchedule" and not covers(tolerations(world.pod), taint):
            return taint
    return None


def tolerations(pod):
    return pod["spec"].get("tolerations", [])


def term_holds(term, node):
    if not term.get("matchExpressions") and not term.get("matchFields"):
        return False
    name = {"metadata.name": node["metadata"]["name"]}
    return all(holds(e, labels(node)) for e in term.get("matchExpressions", [])) and all(
        holds(e, name) for e in term.get("matchFields", [])
    )


def node_affinity(pod):
    return pod["spec"].get("affinity", {}).get("nodeAffinity", {})


def selected(pod, node):
    wanted = pod["spec"].get("nodeSelector", {})
    if any(labels(node).get(k) != v for k, v in wanted.items()):
        return False
    required = node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(term_holds(t, node) for t in required["nodeSelectorTerms"])


# Resources


def number(name, text):
    if name == "cpu":
        return int(text[:-1]) if text.endswith("m") else int(float(text) * 1000)
    for suffix, factor in (("Mi", MI), ("Gi", 1024 * MI), ("G", 10**9)):
        if text.endswith(suffix):
            return int(text.removesuffix(suffix)) * factor
    return int(text)


def requests(pod, least=None):
    total = {}
    for container in pod["spec"]["containers"]:
        asked = {k: number(k, v) for k, v in container["resources"]["requests"].items()}
        for name, amount in {**(least or {}), **asked}.items():
            total[name] = total.get(name, 0) + amount
    for name, text in pod["spec"].get("overhead", {}).items():
        total[name] = total.get(name, 0) + number(name, text)
    return total


def scored(pod):
    return requests(pod, {"cpu": 100, "memory": 200 * MI})


def capacity(node, name):
    return number(name, node["status"]["allocatable"].get(name, "0"))


def used(world, node, name, of=requests):
    return sum(of(p).get(name, 0) for p in world.on(node))


def ports(pod):
    return [
        (p.get("hostIP") or "0.0.0.0", p["hostPort"])
        for c in pod["spec"]["containers"]
        for p in c.get("ports", [])
    ]


def clash(one, other):
    return any(
        a[1] == b[1] and (a[0] == b[0] or "0.0.0.0" in (a[0], b[0]))
        for a in ports(one)
        for b in ports(other)
    )


# Filters: None where the node will do, else [(reason, whether fewer pods would help)]


def unschedulable(world, node):
    cordon = {"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}
    if node["spec"].get("unschedulable") and not covers(tolerations(world.pod), cordon):
        return [("node(s) were unschedulable", False)]
    return None


def node_name(world, node):
    if world.pod["spec"].get("nodeName") not in (None, node["metadata"]["name"]):
        return [("node(s) didn't match the requested node name", False)]
    return None


def taints(world, node):
    taint = untolerated(world, node)
    if taint:
        return [(f"node(s) had untolerated taint {{{taint['key']}: {taint['value']}}}", False)]
    return None


def affinity(world, node):
    if not selected(world.pod, node):
        return [("node(s) didn't match Pod's node affinity/selector", False)]
    return None


def free_ports(world, node):
    if any(clash(world.pod, other) for other in world.on(node)):
        return [("node(s) didn't have free ports for the requested pod ports", True)]
    return None


def resources(world, node):
    found = []
    if len(world.on(node)) + 1 > capacity(node, "pods"):
        found.append(("Too many pods", True))
    for name, amount in requests(world.pod).items():
        if amount > 0 and amount + used(world, node, name) > capacity(node, name):
            found.append((f"Insufficient {name}", amount <= capacity(node, name)))
    return found or None


def spread_constraints(world, when):
    pod = world.pod
    for constraint in pod["spec"].get("topologySpreadConstraints", []):
        if constraint["whenUnsatisfiable"] == when:
            own = [
                (k, labels(pod)[k])
                for k in constraint.get("matchLabelKeys", [])
                if k in labels(pod)
            ]
            yield (
                constraint,
                lambda p, c=constraint, own=own: (
                    selects(c.get("labelSelector"), labels(p))
                    and all(labels(p).get(k) == v for k, v in own)
                ),
            )


def counted(world, node, chosen):
    return sum(
        p["metadata"]["namespace"] == world.pod["metadata"]["namespace"]
        and not p["metadata"].get("deletionTimestamp")
        and chosen(p)
        for p in world.on(node)
    )


def included(world, node, constraint):
    if constraint.get("nodeAffinityPolicy", "Honor") == "Honor" and not selected(world.pod, node):
        return False
    honor = constraint.get("nodeTaintsPolicy", "Ignore") == "Honor"
    return not (honor and untolerated(world, node))


def spread(world, node):
    constraints = [*spread_constraints(world, "DoNotSchedule")]
    keys = [c["topologyKey"] for c, _ in constraints]
    reason = "node(s) didn't match pod topology spread constraints"
    for constraint, chosen in constraints:
        key, sums = constraint["topologyKey"], {}
        for other in world.nodes:
            if all(k in labels(other) for k in keys) and included(world, other, constraint):
                domain = labels(other)[key]
                sums[domain] = sums.get(domain, 0) + counted(world, other, chosen)
        if key not in labels(node):
            return [(f"{reason} (missing required label)", False)]
        least = 0 if len(sums) < constraint.get("minDomains", 1) else min(sums.values())
        skew = sums.get(labels(node)[key], 0) + chosen(world.pod) - least
        if skew > constraint["maxSkew"]:
            return [(reason, True)]
    return None


def terms(pod, kind, when):
    return (
        pod["spec"]
        .get("affinity", {})
        .get(kind, {})
        .get(f"{when}DuringSchedulingIgnoredDuringExecution", [])
    )


def meant(world, owner, term, pod):
    names = set(term.get("namespaces", []))
    if not names and term.get("namespaceSelector") is None:
        names = {owner["metadata"]["namespace"]}
    space = pod["metadata"]["namespace"]
    chosen = term.get("namespaceSelector")
    by_labels = chosen is not None and selects(chosen, world.namespaces.get(space, {}))
    own, wrong = labels(owner), False
    wrong |= any(labels(pod).get(k) != own[k] for k in term.get("matchLabelKeys", []) if k in own)
    wrong |= any(
        labels(pod).get(k) == own[k] for k in term.get("mismatchLabelKeys", []) if k in own
    )
    return (
        (space in names or by_labels)
        and selects(term.get("labelSelector"), labels(pod))
        and not wrong
    )


def together(node, other, key):
    return key in labels(node) and labels(node).get(key) == labels(other).get(key)


def pod_affinity(world, node):
    pod = world.pod
    wanted = terms(pod, "podAffinity", "required")
    if wanted and not near(world, node, wanted):
        return [("node(s) didn't match pod affinity rules", False)]
    for term in terms(pod, "podAntiAffinity", "required"):
        for other, existing in world.everyone:
            if meant(world, pod, term, existing) and together(node, other, term["topologyKey"]):
                return [("node(s) didn't match pod anti-affinity rules", True)]
    for other, existing in world.everyone:
        for term in terms(existing, "podAntiAffinity", "required"):
            if meant(world, existing, term, pod) and together(node, other, term["topologyKey"]):
                return [("node(s) didn't satisfy existing pods anti-affinity rules", True)]
    return None


def near(world, node, wanted):
    if any(t["topologyKey"] not in labels(node) for t in wanted):
        return False
    matching = [n for n, p in world.everyone if all(meant(world, world.pod, t, p) for t in wanted)]
    pairs = {
        (t["topologyKey"], labels(n)[t["topologyKey"]])
        for n in matching
        for t in wanted
        if t["topologyKey"] in labels(n)
    }
    if all((t["topologyKey"], labels(node)[t["topologyKey"]]) in pairs for t in wanted):
        return True
    return not pairs and all(meant(world, world.pod, t, world.pod) for t in wanted)


def named_nodes(world, node):
    """Upstream's PreFilter: if every term names nodes, the others are not even looked at."""
    required = node_affinity(world.pod).get("requiredDuringSchedulingIgnoredDuringExecution")
    terms_ = required["nodeSelectorTerms"] if required else []
    named = [[set(f["values"]) for f in t.get("matchFields", [])] for t in terms_]
    if not terms_ or not all(named):
        return None
    if node["metadata"]["name"] not in set().union(*(set.intersection(*n) for n in named)):
        return [("node(s) didn't satisfy plugin(s) [NodeAffinity]", False)]
    return None


FILTERS = [unschedulable, node_name, taints, affinity, free_ports, resources, spread, pod_affinity]


def reasons(world, node):
    """None if the node will do, else what the first filter that refuses it says."""
    for check in [named_nodes, *FILTERS]:
        found = check(world, node)
        if found is not None:
            return found
    return None


# Scores: by node name, of feasible nodes


def taint_score(world, feasible):
    soft = [t for t in tolerations(world.pod) if t.get("effect") in (None, "PreferNoSchedule")]
    raw = {
        n["metadata"]["name"]: sum(
            t["effect"] == "PreferNoSchedule" and not covers(soft, t) for t in n["spec"]["taints"]
        )
        for n in feasible
    }
    return {k: 100 - v for k, v in stretched(raw).items()}


def affinity_score(world, feasible):
    wanted = node_affinity(world.pod).get("preferredDuringSchedulingIgnoredDuringExecution", [])
    raw = {
        n["metadata"]["name"]: sum(t["weight"] for t in wanted if term_holds(t["preference"], n))
        for n in feasible
    }
    return stretched(raw)


def stretched(raw):
    most = max(raw.values())
    return {k: 100 * v // most if most else 0 for k, v in raw.items()}


def least_allocated(world, feasible):
    return {n["metadata"]["name"]: least(world, n) for n in feasible}


def least(world, node):
    total = weight = 0
    for name in ("cpu", "memory"):
        size = capacity(node, name)
        taken = used(world, node, name, scored) + scored(world.pod)[name]
        if size:
            weight += 1
            total += (size - taken) * 100 // size if taken <= size else 0
    return total // weight if weight else 0


def balanced(world, feasible):
    return {n["metadata"]["name"]: balance(world, n) for n in feasible}


def balance(world, node):
    wants = requests(world.pod)
    if not (wants.get("cpu") or wants.get("memory")):
        return 0
    shares = []
    for name in ("cpu", "memory"):
        taken = used(world, node, name) + wants.get(name, 0)
        if capacity(node, name):
            shares.append(min(1.0, taken / capacity(node, name)))
    return int((1 - abs(shares[0] - shares[1]) / 2) * 100) if len(shares) == 2 else 100


def images(world, feasible):
    names = [c["image"] for c in world.pod["spec"]["containers"]]
    sizes = [
        {name: i["sizeBytes"] for i in n["status"].get("images", []) for name in i["names"]}
        for n in world.nodes
    ]
    by_node = {n["metadata"]["name"]: s for n, s in zip(world.nodes, sizes, strict=True)}
    result = {}
    for node in feasible:
        own, total = by_node[node["metadata"]["name"]], 0
        for name in (f"{n}:latest" if ":" not in n else n for n in names):
            if name in own:
                have = sum(name in s for s in sizes)
                total += int(own[name] * (have / len(world.nodes)))
        low, high = 23 * MI, 1000 * MI * len(names)
        result[node["metadata"]["name"]] = 100 * (min(max(total, low), high) - low) // (high - low)
    return result


def pod_affinity_score(world, feasible):
    pod, raw = world.pod, {n["metadata"]["name"]: 0 for n in feasible}

    def add(near_node, term, weight):
        for node in feasible:
            if together(node, near_node, term["topologyKey"]):
                raw[node["metadata"]["name"]] += weight

    for other, existing in world.everyone:
        for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
            for entry in terms(pod, kind, "preferred"):
                if meant(world, pod, entry["podAffinityTerm"], existing):
                    add(other, entry["podAffinityTerm"], sign * entry["weight"])
            for entry in terms(existing, kind, "preferred"):
                if meant(world, existing, entry["podAffinityTerm"], pod):
                    add(other, entry["podAffinityTerm"], sign * entry["weight"])
        for term in terms(existing, "podAffinity", "required"):
            if meant(world, existing, term, pod):
                add(other, term, 1)
    low, high = min(raw.values()), max(raw.values())
    return {k: int(100 * ((v - low) / (high - low))) if high > low else 0 for k, v in raw.items()}


def default_constraints(world):
    """Those of pods that a Service selects and that have none themselves."""
    if world.pod["spec"].get("topologySpreadConstraints"):
        return []
    chosen = [
        s["spec"]["selector"]
        for s in world.services
        if s["metadata"]["namespace"] == world.pod["metadata"]["namespace"]
        and selects({"matchLabels": s["spec"]["selector"]}, labels(world.pod))
    ]
    if not chosen:
        return []

    def both(p):
        return all(selects({"matchLabels": s}, labels(p)) for s in chosen)

    return [
        ({"maxSkew": 3, "topologyKey": HOST}, both),
        ({"maxSkew": 5, "topologyKey": ZONE}, both),
    ]


def spread_score(world, feasible):
    constraints = [*spread_constraints(world, "ScheduleAnyway")]
    strict = bool(world.pod["spec"].get("topologySpreadConstraints"))
    constraints = constraints or default_constraints(world)
    keys = [c["topologyKey"] for c, _ in constraints]
    if not constraints:
        return {n["metadata"]["name"]: 0 for n in feasible}

    def counts(node):
        return not strict or all(k in labels(node) for k in keys)

    candidates, raw = [n for n in feasible if counts(n)], {}
    for node in candidates:
        total = 0.0
        for constraint, chosen in constraints:
            key = constraint["topologyKey"]
            domains = {labels(n).get(key, "") for n in candidates}
            size = len(candidates) if key == HOST else len(domains)
            if key not in labels(node):
                continue
            same = [
                n
                for n in world.nodes
                if together(node, n, key) and counts(n) and included(world, n, constraint)
            ]
            found = sum(counted(world, n, chosen) for n in ([node] if key == HOST else same))
            total += found * math.log(size + 2) + (constraint["maxSkew"] - 1)
        raw[node["metadata"]["name"]] = math.floor(total + 0.5)
    result = {n["metadata"]["name"]: 0 for n in feasible}
    for name, value in raw.items():
        low, high = min(raw.values()), max(raw.values())
        result[name] = 100 * (high + low - value) // high if high else 100
    return result


SCORES = {
    "TaintToleration": (taint_score, 3),
    "NodeAffinity": (affinity_score, 2),
    "NodeResourcesFit": (least_allocated, 1),
    "PodTopologySpread": (spread_score, 2),
    "InterPodAffinity": (pod_affinity_score, 2),
    "NodeResourcesBalancedAllocation": (balanced, 1),
    "ImageLocality": (images, 1),
}


def scores(world, feasible):
    """Weighted sums by node name."""
    total = {n["metadata"]["name"]: 0 for n in feasible}
    for rank, weight in SCORES.values():
        for name, value in rank(world, feasible).items():
            total[name] += weight * value
    return total
