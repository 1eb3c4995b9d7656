"""What must hold at every revision, one file per promise. Pure: told of changes, tells violations.

"As upstream guarantees it" means, throughout: a controller decides on what it has seen. So limits
are those of any version of an owner that the controller may have acted on
(`History.recent_specs`), and pods that were lost by themselves (a node died, a probe failed, a
user deleted) are not counted against it.
"""
