"""Streams of finalized blocks and of views, over server-sent events and over WebSocket.

A reader is a cursor: a position in a `feed`, read again from where it is kept anyway, so that a slow one costs nothing
but its place. `pump` says who writes when, `frames` keeps what many want encoded once, `reader` is one client's way
from its position to the latest, and says what lagging means; `wires` are the two forms in which bytes leave, `routes`
the two addresses.
"""
