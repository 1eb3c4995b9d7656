"""Cluster DNS: names of Services and pods, after the Kubernetes DNS-based service discovery.

Belongs here: the zone (pure) and the server that answers from it. Does not belong here: search
domains, which are the client's matter (resolv.conf, written by the kubelet).
"""
