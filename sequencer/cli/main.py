"""`sequencer`: the commands, and how every one of them ends."""

import sys
import traceback
from typing import Annotated

import typer

from sequencer.cli.chaos import chaos_app
from sequencer.cli.check import check_app
from sequencer.cli.config_show import config_show
from sequencer.cli.dashboards import dashboards_app
from sequencer.cli.database import database_app
from sequencer.cli.debug import debug_app
from sequencer.cli.devnet import devnet_app
from sequencer.cli.explore import explore
from sequencer.cli.forensics import forensics
from sequencer.cli.fuzz import fuzz_app
from sequencer.cli.init import init
from sequencer.cli.output import talk
from sequencer.cli.simulate import simulate
from sequencer.cli.stake import stake_app
from sequencer.cli.start import start
from sequencer.cli.status import status
from sequencer.cli.twins import twins
from sequencer.cli.tx import tx_app
from sequencer.cli.verify import verify
from sequencer.cli.version import version
from sequencer.cli.watch import watch
from sequencer.cli.why import why
from sequencer.failures import ExitCode, explain_failure

_EPILOG = (
    "Commands end with 0 when all went well, 1 when something failed, 2 for what was typed wrongly, 3 when time was up "
    "before there was an answer, 4 when no node can be reached, 5 when going on would be unsafe, 70 for a defect of "
    "this program, 130 when interrupted."
)

app = typer.Typer(
    name="sequencer",
    help="A decentralised, self-healing sequencer for rollups. Start with `sequencer devnet`.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        version()
        raise typer.Exit


@app.callback()
def _program(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="The same as `sequencer version`.")
    ] = False,
) -> None:
    pass


for _command in (init, start, status, watch, why, forensics, simulate, explore, twins, verify, version):
    app.command()(_command)
app.add_typer(devnet_app, name="devnet")
app.add_typer(chaos_app, name="chaos")
app.add_typer(database_app, name="database")
app.add_typer(debug_app, name="debug")
app.add_typer(tx_app, name="tx")
app.add_typer(stake_app, name="stake")
app.add_typer(check_app, name="check")
app.add_typer(dashboards_app, name="dashboards")
app.add_typer(fuzz_app, name="fuzz")
config_app = typer.Typer(no_args_is_help=True, help="Look at settings.")
config_app.command("show")(config_show)
app.add_typer(config_app, name="config")


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except Exception as error:
        sys.exit(_end_with(error))


def _end_with(error: Exception) -> ExitCode:
    failure = explain_failure(error)
    if failure is not None:
        talk(f"error: {failure.message}")
        return failure.code
    traceback.print_exception(error)
    talk("error: this is a defect of the program, not of what you typed. Please report it with the lines above.")
    return ExitCode.INTERNAL


if __name__ == "__main__":
    main()
