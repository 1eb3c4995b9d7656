"""Passing requests on to kubelets, pods and Services: whole answers, streams, other protocols.

Belongs here: HTTP from one connection to another. Does not belong here: who may ask, and where a
name leads (`handlers.connecting`, `handlers.proxying`).
"""
