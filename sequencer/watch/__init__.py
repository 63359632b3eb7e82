"""The terminal dashboard: what `sequencer watch` shows.

`reading` asks the nodes, `picture` makes one picture of what they said and is pure, `screen` draws it as lines of any
width, and `terminal` owns the screen and the keys.
"""
