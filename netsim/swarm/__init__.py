"""Campaigns: scenarios drawn from seeds by the thousand, what came of them, and the smallest one that fails.

`scenarios` and `draws` make a scenario of a seed, `campaign` runs many of them on whatever executor it is given,
`shrink` makes a failing one small.
"""

from netsim.swarm.campaign import Campaign, SeedResult, run_campaign, run_seed
from netsim.swarm.scenarios import sample_scenario
from netsim.swarm.shrink import shrink

__all__ = ["Campaign", "SeedResult", "run_campaign", "run_seed", "sample_scenario", "shrink"]
