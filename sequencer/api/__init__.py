"""The HTTP API of a node: Starlette on anycorn.

`server` listens and shuts down, `app` routes, `submit`, `blocks` and `status` answer, `parameters` and `encoding` read
and write, `problems` holds every error. `node_view` says what all of them need of a node, and nothing else reaches it.
"""
