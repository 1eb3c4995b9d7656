"""A kubelet that is killed again and again under pods: none may restart, nothing may be left.

`process` is a kubelet as a process of its own, `held` what a node holds of its machine, `campaign`
the kills. `python -m cluster.faults.kubelets FOLDER` does it beside the nodes of a running cluster.
"""
