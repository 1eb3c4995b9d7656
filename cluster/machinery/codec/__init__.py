"""Bytes to objects and back: JSON, YAML and protobuf.

Belongs here: media types and their encodings. Does not: what an object must look like
(strict, defaulting, validation). Malformed input raises `errors.BadRequest`.
"""
