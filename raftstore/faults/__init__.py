"""Real processes of a store, broken on purpose: power cuts, kills, pauses, cut links; and checks.

Belongs here: member processes with failing seams, workloads whose history is recorded, campaigns of
faults with what must hold. Does not belong here: what runs in virtual time (see
`raftstore.simulation`).
Production code never imports this.
"""
