"""kube-proxy: carries traffic for Service addresses to ready endpoints.

Belongs here: the rules (pure) and what programs them on a node. Does not belong here: who is an
endpoint (the EndpointSlice controller decides) and names (`cluster.dns`).
"""
