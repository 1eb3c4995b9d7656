"""The node agent: makes the pods bound to this node real and tells the API server about them.

Belongs here: pod life cycle (pure: `pod_worker`, `pod_status`), probes, volumes, environment,
logs, the kubelet's HTTPS server, node registration. How a container runs is `runtimes`' matter.
Does not belong here: Services and DNS (`cluster.proxy`, `cluster.dns`) and placement.
"""
