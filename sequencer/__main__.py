"""`python -m sequencer` is `sequencer`."""

from sequencer.cli.main import main

main()
