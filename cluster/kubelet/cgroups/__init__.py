"""Control groups of a node: the QoS tree, limits of pods and containers, what they use.

`limits` and `shares` are pure; `tree` writes the files of cgroup v1 or v2, `detection` finds out
which there are, `pods` keeps the groups of a node's pods.
"""
