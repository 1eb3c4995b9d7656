"""Authentication: who asks?

Belongs here: one file for each way to prove who one is, and speaking for others (impersonation).
Does not: what they may do (`authz`).
"""
