"""Simulated nodes: thousands of kubelets in one component, whose pods' lives are data.

Belongs here: what a pod does (behaviours, lives), the nodes' accounts and heartbeats, and the
component that writes all of it to the API. The decisions are those of the real kubelet
(`pod_worker`, `pod_status`, `admission`); only the runtime below them is made up. Does not belong
here: anything that starts a process.
"""
