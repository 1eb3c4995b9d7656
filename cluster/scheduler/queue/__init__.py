"""Pods that wait for a node, and what makes it worth while to try one again."""
