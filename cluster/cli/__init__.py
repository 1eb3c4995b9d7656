"""The `raykube` command: one file per verb.

Belongs here: talking to a person. Does not belong here: anything that a cluster does while nobody
watches. Nothing heavy is imported until a verb needs it, so that `--help` answers at once.
"""
