"""SPDY/3.1 as kubectl and kubelets speak it (draft-mbelshe-httpbis-spdy-00, sections 2 and 3).

`headers` and `frames` are the codec, `session` the state of one connection; all three are pure.
`connection` gives streams to coroutines.
"""
