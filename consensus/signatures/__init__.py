"""Signatures behind one interface, and the domain tags under every one of them (P1).

`ed25519` is what networks run. `simulated` is for netsim alone: it costs nothing and hides nothing.
"""

from consensus.signatures.scheme import Domain, SignatureScheme, Signer, make_statement

__all__ = ["Domain", "SignatureScheme", "Signer", "make_statement"]
