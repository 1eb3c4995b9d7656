"""The etcd v3 gRPC protocol in front of the store, so that clients of etcd work unmodified.

Here belongs what is etcd's: messages, status codes, header fields, sizes. What the store promises
is the store's business; the gateway is one of its clients and keeps no state of its own.
"""
