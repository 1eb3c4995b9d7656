"""The behaviour suite of nodes: rows of Kubernetes' own conformance, over each runtime.

One implementation runs over every runtime (`runtimes`), against one control plane (`plane`). A row
is the name of a behaviour (`rows`); most are a container and what it must print (`printed`).
"""
