"""Authorisation: may this user do this?

Belongs here: authorizers, the roles that every cluster has, and who may grant what. Does not:
who asks (`authn`), and what a write may contain (`admission`).
"""
