"""`sequencer version`."""

import platform

from sequencer import __version__
from sequencer.cli.output import OutputFormat, OutputOption, print_json


def version(output: OutputOption = OutputFormat.TABLE) -> None:
    """Print which version this is, and what it runs on."""
    facts = {
        "sequencer": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system().lower()}-{platform.machine()}",
    }
    if output is OutputFormat.JSON:
        print_json(facts)
    else:
        print(f"sequencer {facts['sequencer']} (Python {facts['python']}, {facts['platform']})")
