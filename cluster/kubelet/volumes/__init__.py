"""Volumes: what is in them (`payload`, pure), how files are put there, and where they are mounted.

Does not belong here: mounting itself, which happens inside the container (`runtimes.helpers`).
"""
