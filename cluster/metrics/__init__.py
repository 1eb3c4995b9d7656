"""metrics.k8s.io: an API server of its own behind the cluster's, as upstream's metrics-server.

It reads /metrics/resource of every kubelet, keeps the last two measurements in memory, and tells
what nodes and pods use between them. `kubectl top` and horizontal autoscaling go by that.

Belongs here: scraping, rates, the API of both kinds, registering itself as an APIService. Does
not: measuring (kubelets do), deciding on replicas (the autoscaler does).
"""
