"""One run as one HTML page that needs nothing else: no script, no network, no font.

`page` puts it together from an `Outcome`, `charts` draws what happened over time, `space_time` the messages around the
failure, `svg` is what both draw with.
"""

from netsim.page.page import render_page

__all__ = ["render_page"]
