"""Classic consensus bugs, planted one at a time: who notices them says what the tests are worth.

`python -m tests.mutants` copies the tree, plants each bug in the copy, runs the layers of tests in order of cost and
writes who killed it to docs/mutants.md. The bugs are grouped by theme: `voting`, `certificates`, `durability`,
`payloads`, `liveness`, `ledger`, `epochs`. `layers` says what is run, `tree` plants, `matrix` puts it into a table.

When code that a mutant replaces has moved, `test_mutants` fails: adapt the mutant's snippet, keep its story.
"""

from tests.mutants import certificates, durability, epochs, ledger, liveness, payloads, voting
from tests.mutants.mutant import Mutant

THEMES: dict[str, tuple[Mutant, ...]] = {
    "voting": voting.MUTANTS,
    "certificates": certificates.MUTANTS,
    "durability": durability.MUTANTS,
    "payloads": payloads.MUTANTS,
    "liveness": liveness.MUTANTS,
    "ledger": ledger.MUTANTS,
    "epochs": epochs.MUTANTS,
}
CATALOGUE: dict[str, Mutant] = {mutant.name: mutant for theme in THEMES.values() for mutant in theme}
