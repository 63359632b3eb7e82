"""A small rollup on the sequencer: what a rollup's developer writes, and no more.

`ledger` says what ordered bytes mean, `node` follows a namespace and executes it, `wallet` has transfers ordered.
`python -m examples.rollup` shows four of its nodes agree through the death of a leader. docs/integrating-a-rollup.md
explains it step by step.
"""
