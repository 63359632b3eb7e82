"""Many nodes on one machine, each a process of its own: `sequencer devnet`, the demo, tests and benchmarks stand on it.

`cluster` is what they call. `fork_server` is one small process that has imported everything and forks the nodes: it
stays single-threaded and never runs Trio, so that it can fork again at any time. `child` is what runs in each fork,
`owner` and `protocol` are how the cluster talks to the server, `home` is the folder in which all state lies, `watch`
sums up what the nodes do.

No process outlives its parent: a node ends when the fork server is gone, the fork server when its owner is gone.
"""
