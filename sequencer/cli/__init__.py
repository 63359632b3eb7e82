"""The command line: one module per command, data on stdout, talk on stderr, heavy imports inside the functions.

`main` wires the commands and turns every expected error into one paragraph and an exit code (`sequencer.failures`).
"""
