"""What lets a client trust nothing but a stake table.

Pure: `finality` checks that a block is final, `light_client` follows the stake tables from epoch to epoch,
`payload_proof` shows what a block says of a namespace, `bundle` holds all of that in one file that can be checked
anywhere. `source` and `collecting` ask a node that nobody need trust. What does not follow is a `ProofError` that names
the rule.
"""
