"""The actor model: components, the hosts that run them, and the four seams.

Belongs here: how a component is started, found, supervised, killed and inspected, and how it
reaches time, randomness, the network and the disk. Does not belong here: anything that knows
what Raft or Kubernetes is. `actors.hosts.ray` is the only module that imports ray.
"""
