"""Twins (Bano et al. 2020): every leader, every split of the network, and one validator that runs twice.

A twin is two whole nodes with one key, each honest by itself. Between them they sign whatever a Byzantine validator
could sign that is of use to anybody, so that enumerating leaders and partitions enumerates attacks, without a single
line that lies. `space` numbers the scenarios, `symmetry` says which of them are the same, `wire` is the network that
follows the views, `trial` runs one scenario with all oracles on, `campaign` adds up many.
"""
