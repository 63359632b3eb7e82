"""The style sheet of /docs. Colours follow the reader's choice of light or dark, with a contrast of at least 4.5."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #535e70; --paper: #ffffff; --edge: #d5dae2; --code: #f2f4f8;
  --link: #0b57b7; --get: #0b6e4f; --post: #8a4b00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #a3adbd; --paper: #12161d; --edge: #333c4a; --code: #1b212b; --link: #7fb4ff;
    --get: #5fd0a5; --post: #f0b35e; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 2.5rem 0 .25rem; font-size: 1.25rem; }
h4 { margin: 1.25rem 0 .25rem; font-size: .95rem; color: var(--soft); }
a { color: var(--link); } header p { margin: .25rem 0 1rem; color: var(--soft); }
nav { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: .5rem 0;
  background: var(--paper); border-bottom: 1px solid var(--edge); }
code { font: .9em ui-monospace, monospace; background: var(--code); border-radius: 3px; padding: .1em .3em; }
pre { background: var(--code); border: 1px solid var(--edge); border-radius: 6px; padding: .75rem; overflow-x: auto; }
pre code { padding: 0; background: none; }
details { border: 1px solid var(--edge); border-radius: 6px; margin: .5rem 0; padding: .25rem .75rem; }
details[open] { padding-bottom: .75rem; }
summary { cursor: pointer; padding: .35rem 0; } summary span { color: var(--soft); }
summary:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
b.get, b.post { display: inline-block; min-width: 3.2rem; font: 700 .85rem ui-monospace, monospace; }
b.get { color: var(--get); } b.post { color: var(--post); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--edge); }
th { color: var(--soft); font-weight: 600; } .answer { margin: .5rem 0; } .answer > p:first-of-type { display: inline; }
small { color: var(--soft); } ul { margin: .25rem 0; padding-left: 1.25rem; }
"""
