"""`sequencer watch`: a network at a glance, full screen and alive."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sequencer.cli.output import OutputFormat, OutputOption, make_console, print_json
from sequencer.cli.status import resolve_urls
from sequencer.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from sequencer.watch.picture import Picture
    from sequencer.watch.reading import Reading

ONCE_ROWS_MAX = 1000
"""Lines of a picture that is printed once: all of it."""


def watch(
    url: Annotated[
        list[str] | None, typer.Option(help="A node's API; give it several times for several.", envvar="SEQUENCER_URL")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Ask all nodes of this home.", envvar="SEQUENCER_HOME", show_default="./devnet")
    ] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2, max=3600)] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Show a network at a glance: health, nodes, views, speed, mode and slashings, renewed every second.

    q ends it. Off a terminal it prints a line for each look instead. With --once it ends with 4 when no node answers.
    """
    if output is OutputFormat.JSON and not once:
        raise CommandError("-o json is one picture: add --once", ExitCode.USAGE)
    from sequencer.survey import Place, make_unreachable
    from sequencer.watch.picture import draw_picture
    from sequencer.watch.reading import take_reading

    places = [Place(name, address) for name, address in resolve_urls(url, home)]
    console = make_console(is_talk=False)
    if once:
        reading = take_reading(places)
        if reading.best is None:
            raise make_unreachable(reading.nodes)
        _print_once(draw_picture(reading), reading, output)
    elif console.is_terminal:
        from sequencer.watch.terminal import show

        show(places, console, interval)
    else:
        from sequencer.watch.screen import draw_line

        while True:
            print(draw_line(draw_picture(take_reading(places))), flush=True)
            time.sleep(interval)


def _print_once(picture: "Picture", reading: "Reading", output: OutputFormat) -> None:
    from sequencer.watch.screen import draw

    if output is OutputFormat.JSON:
        import msgspec

        print_json({"at_s": reading.taken_at} | msgspec.to_builtins(picture))
        return
    console = make_console(is_talk=False)
    width = console.width if sys.stdout.isatty() else min(console.width, 120)
    for line in draw(picture, width, ONCE_ROWS_MAX)[1:]:
        console.print(line)
