"""Real members and real clients in virtual time, under faults chosen by a seed.

Belongs here: the simulated cluster, the nemesis, the workload, planted bugs. Does not belong
here: how the seams are simulated (`actors.simulation`), what makes a history right (`verify`).
"""
