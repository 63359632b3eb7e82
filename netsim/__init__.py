"""A network of replicas inside one thread, on virtual time.

It runs the production `Replica` and `batch` on a plain heap; faults, latencies and ties are drawn from one seed, so
that a failure can be replayed to the last event. `cluster` is the scenario language, `checkers` hold the oracles,
`report` is what the command line runs. Only `transport` knows Trio: it puts the same links under full nodes.
"""
