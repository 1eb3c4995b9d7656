"""What each verb does, from a parsed request to an answer.

Belongs here: one module for reading, watching, writing, deleting and each odd subresource. Does
not: HTTP, paths, who may do what (checked before), storage.
"""
