"""The audit log: who did what, as an audit policy says (audit.k8s.io/v1).

Belongs here: which requests are noted and how much of them, the events, and the file.
"""
