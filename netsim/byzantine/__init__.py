"""Validators that lie: with their own key, real messages, and a production replica behind them.

An actor is a filter between that replica and the world, one behaviour a file. It knows no simulator, so the same one
stands on a simulated wire and, in a devnet that was asked for it, on the transport of a real node. Nothing in here can
be reached from a node that `sequencer start` runs.

`behaviours` names them all.
"""
