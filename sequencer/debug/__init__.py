"""What somebody needs who is to find out what ails a node: `sequencer debug bundle`.

`task_tree` is the node's part, the rest runs beside it: `items` are the pieces of a bundle, `local` gathers those of a
node's folder and process, `remote` those of its API, `bundle` writes them. What goes in is listed by name; keys are
never opened, whatever they are called.
"""
