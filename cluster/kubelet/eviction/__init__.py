"""What a node does when memory, disk or processes run out: say so, make room, end pods.

`thresholds`, `pressure`, `ranking` and `local_storage` are pure; `disk` measures folders and
`manager` brings them together. The rules are those of upstream's pkg/kubelet/eviction.
"""
