"""Programs that the process runtime starts beside the kubelet: standard library only.

They run as `python -I -S -E`, so that one costs a few megabytes and starts in milliseconds, and
so that they go on when the kubelet is killed. Nothing here may import the rest of the project.
"""
