"""The runtime `cri`: a container manager (containerd, CRI-O) behind Kubernetes CRI v1."""
