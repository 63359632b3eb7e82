"""The oracles of the simulator over the journals of real nodes.

`journals` reads what nodes have written (`consensus.trace`), `check` plays it to the oracles as if it happened again.
"""

from netsim.trace.check import TraceSummary, check_trace
from netsim.trace.journals import NodeJournal, TraceError, read_journals

__all__ = ["NodeJournal", "TraceError", "TraceSummary", "check_trace", "read_journals"]
