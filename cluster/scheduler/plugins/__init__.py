"""The scheduling plugins, one per file, under upstream's names.

Belongs here: filters and scores over columns, pure. Does not belong here: queueing, binding.
"""
