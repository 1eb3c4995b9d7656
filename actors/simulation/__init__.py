"""The four seams in virtual time: whole clusters in one process, every fault chosen by a seed.

Belongs here: the virtual event loop, and clock, network and disk with their fault models; nothing
in it knows what runs on it. Does not belong here: which faults to inject, workloads, checkers.
Production code never imports this package.
"""
