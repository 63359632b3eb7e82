"""Prints docs/metrics.md."""

from sequencer.metrics.document import render_document

print(render_document(), end="")
