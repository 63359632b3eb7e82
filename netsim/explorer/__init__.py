"""Everything that can happen in a few views, searched breadth first, with the real rules making every decision.

Three honest validators and one Byzantine one that co-signs whatever there is, in all orders of delivery and loss. The
search is over symbols; `consensus.safety` decides what is signed, the tallies and the verifier which certificates
exist, `consensus.validation` which leaves are looked at, `consensus.chain` what is decided, the watch who can be
accused.

`model` the bounds, `material` leaves and certificates, `quorums` which certificates exist, `voters` what one validator
can be, `moves` what it is offered, `symmetry` and `levels` what keeps the search small, `properties` and `offences`
what must hold and be reached, `liveness` that it always goes on, `search` the search, `story` how a breach is told.
"""
