"""Chaos on real processes: the same scenarios that the simulator runs, done to nodes over loopback TCP.

`impairment` is what can be wrong with one direction between two nodes, `proxy` the connections that suffer it. `plan`
says which faults processes know, `injector` does them to the nodes and the links, `observer` and `traffic` watch and
load the cluster, `resources` reads what its processes hold, `judge` turns all of it into verdict lines, and `runner`
puts a run together. `control` is the way into a devnet that runs already.

No production node comes here: it is the peers' addresses, a setting, that lead through the proxies.
"""
