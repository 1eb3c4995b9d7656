"""Faults on purpose: nemeses break something, workloads use the cluster meanwhile, checkers judge.

Belongs here: what runs against a whole cluster of processes. Faults inside one component are
injected in the seams instead.
"""
