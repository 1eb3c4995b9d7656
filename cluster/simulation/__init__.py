"""Whole control planes in virtual time: real controllers, scheduler and API servers, one seed.

Belongs here: the world that a seed makes (machines, store, kubelets, users, faults) and what must
hold at every revision of it (`checks`). Does not belong here: anything that a real cluster runs.
"""
