"""What the node and its containers use: the stats and metrics pages of the kubelet.

Belongs here: measuring the machine, and telling usage as upstream's summary and as Prometheus
text. Does not: measuring containers (the runtime does), serving HTTP.
"""
