"""The oracles of the simulator over the journals of real nodes.

`journals` reads what nodes have written (`consensus.trace`), `check` plays it to the oracles as if it happened again,
`timeline` makes of it what a report draws.
"""

from netsim.trace.check import TraceSummary, check_trace
from netsim.trace.journals import NodeJournal, TraceError, read_journals
from netsim.trace.timeline import draw_timeline

__all__ = ["NodeJournal", "TraceError", "TraceSummary", "check_trace", "draw_timeline", "read_journals"]
