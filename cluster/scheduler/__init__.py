"""The scheduler: which node each pod runs on.

Belongs here: the queue of pods, nodes as columns, plugins that filter and score them, and the
component that binds. The decision is pure: (columns, pod) -> node or reasons. Does not belong
here: anything that changes pods or nodes other than by binding and pod conditions.
"""
