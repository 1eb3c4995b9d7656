"""Priority and fairness: which requests run now, which wait, and which are sent away.

Belongs here: FlowSchemas (who belongs to which level), levels with their seats and queues, and
the objects of both that every cluster has. Requests are only counted while they are served: the
answer of a watch that has begun takes no seat.
"""
