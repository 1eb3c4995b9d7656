"""Room for a pod of higher priority: which pods would have to go, and from which node. Pure."""
