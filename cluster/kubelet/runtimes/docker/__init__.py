"""The runtime `docker`: containers by a Docker daemon, over its Engine API."""
