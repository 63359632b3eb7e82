"""What is done to a cluster and what must come of it, as data: one format for the simulator and for real processes.

`model` is a scenario, `faults` what it may do, `targets` whom it may do it to, `files` reads and writes it, and
`outcome` is what any run of it ends with. `simulated` runs it here; `sequencer.chaos` runs it on processes.
"""

from netsim.scenario.faults import Fault
from netsim.scenario.files import ScenarioError, read_scenario, write_scenario
from netsim.scenario.model import Scenario
from netsim.scenario.outcome import Outcome, Verdict

__all__ = ["Fault", "Outcome", "Scenario", "ScenarioError", "Verdict", "read_scenario", "write_scenario"]
