"""Who is at the other end: the first four messages of a connection.

```
dialler   -> Hello(version, network, dialler, acceptor, challenge)
acceptor  -> Answer(challenge, proof)       or Refusal(reason)
dialler   -> Proof(proof)                   or Refusal(reason)
acceptor  -> Welcome                        or Refusal(reason)
```

A proof is a signature over both fresh challenges, both identities, the direction and the network, in the domain of
hellos (P1): a recorded one is worth nothing, one made for another peer neither. It says who opened the connection.
It does not protect the bytes that follow from someone who controls the wire; everything that matters in them is
signed itself.

Whoever holds the key makes the proof; nothing here ever sees it. Nothing here knows of epochs either: a proof is good
with any key that the directory lists for the validator, so connections outlive epochs and keys can be rotated.
"""

import secrets
import struct
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec
import trio
from msgspec import Meta

from consensus.signatures import Domain, SignatureScheme, make_statement
from consensus.types import Epoch, NetworkId, ValidatorId, View, WireCount, WireSignature, WireValidatorId
from sequencer.transport.framing import HELLO_BYTES_MAX, FrameReader, encode_frame

PROTOCOL_VERSION: Final = 2
"""Of everything on the wire: frames, handshake, messages. Nodes of different versions do not talk."""
CHALLENGE_BYTES: Final = 32

_TAG = b"sequencer/hello/1\0"
_IDENTITIES = struct.Struct(">BQ32sHH")
_DIALLER, _ACCEPTOR = 1, 2
_NO_EPOCH = Epoch(0)

_Hash: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
_Reason: TypeAlias = Annotated[str, Meta(pattern="^[a-z_]{1,40}$")]


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    pass


class Hello(_Message, frozen=True, tag=1):
    version: WireCount
    network_id: _Hash
    dialler: WireValidatorId
    acceptor: WireValidatorId
    challenge: _Hash


class Answer(_Message, frozen=True, tag=2):
    challenge: _Hash
    proof: WireSignature


class Proof(_Message, frozen=True, tag=3):
    proof: WireSignature


class Welcome(_Message, frozen=True, tag=4):
    pass


class Refusal(_Message, frozen=True, tag=5):
    """Why the other side hangs up. Unproven, so only good for a log."""

    reason: _Reason


HandshakeMessage: TypeAlias = Hello | Answer | Proof | Welcome | Refusal
M = TypeVar("M", Hello, Answer, Proof, Welcome)

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[HandshakeMessage] = msgspec.msgpack.Decoder(HandshakeMessage)


class HandshakeError(Exception):
    """The peer is not who it should be, or not on our network. `reason` is a stable label, `detail` is for people.

    `should_refuse` says that the peer is owed the reason.
    """

    def __init__(self, reason: str, detail: str, *, should_refuse: bool = True) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.should_refuse = should_refuse


class KeyDirectory:
    """By which public keys each validator may prove its identity. Changes while connections are made."""

    def __init__(self, keys: Mapping[ValidatorId, frozenset[bytes]]) -> None:
        self.set_keys(keys)

    def set_keys(self, keys: Mapping[ValidatorId, frozenset[bytes]]) -> None:
        """From now on; whoever is not listed, or with no key, is unknown."""
        self._keys = dict(keys)

    def get_keys(self, validator: ValidatorId) -> frozenset[bytes]:
        """None for a validator that is unknown."""
        return self._keys.get(validator, frozenset())


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are and how we prove it, and by what we know the others."""

    network_id: NetworkId
    scheme: SignatureScheme
    validator_id: ValidatorId
    prove: Callable[[bytes], bytes]
    """Signs a digest in the domain of hellos, see `consensus.safety.prove_identity`."""
    keys: KeyDirectory


async def dial(stream: trio.abc.Stream, identity: Identity, peer: ValidatorId) -> None:
    """Prove who we are to `peer` and have it prove itself. Returns when it has welcomed us.

    Raises `HandshakeError`, `FrameError`, or trio's resource errors; the caller sets the deadline and closes the
    stream."""
    channel = _Channel(stream)
    hello = Hello(
        PROTOCOL_VERSION, identity.network_id, identity.validator_id, peer, secrets.token_bytes(CHALLENGE_BYTES)
    )
    await channel.send(hello)
    async with _refusing(channel):
        answer = await channel.receive(Answer)
        _verify(identity, peer, compute_digest(_ACCEPTOR, hello, answer.challenge), answer.proof)
        await channel.send(Proof(identity.prove(compute_digest(_DIALLER, hello, answer.challenge))))
        await channel.receive(Welcome)


async def accept(
    stream: trio.abc.Stream, identity: Identity, peers: Container[ValidatorId] | None = None
) -> ValidatorId:
    """Find out which validator dialled us, and prove that it reached us. The counterpart of `dial`.

    `peers` are those that may; None is everyone in the directory.
    """
    channel = _Channel(stream)
    async with _refusing(channel):
        hello = await channel.receive(Hello)
        _check_hello(hello, identity, peers)
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        await channel.send(Answer(challenge, identity.prove(compute_digest(_ACCEPTOR, hello, challenge))))
        proof = await channel.receive(Proof)
        _verify(identity, hello.dialler, compute_digest(_DIALLER, hello, challenge), proof.proof)
        await channel.send(Welcome())
    return hello.dialler


def compute_digest(role: int, hello: Hello, acceptor_challenge: bytes) -> bytes:
    """What a proof signs. Every field has a fixed width, and the role keeps one side's proof from serving the other."""
    identities = _IDENTITIES.pack(role, hello.version, hello.network_id, hello.dialler, hello.acceptor)
    return sha256(_TAG + identities + hello.challenge + acceptor_challenge).digest()


def _check_hello(hello: Hello, identity: Identity, peers: Container[ValidatorId] | None) -> None:
    network_id = identity.network_id
    if hello.version != PROTOCOL_VERSION:
        raise HandshakeError("wrong_version", f"speaks version {hello.version}, this node {PROTOCOL_VERSION}")
    if hello.network_id != network_id:
        detail = f"is on network {hello.network_id.hex()[:16]}…, this node on {network_id.hex()[:16]}…"
        raise HandshakeError("wrong_network", f"{detail}: their network files differ")
    if hello.acceptor != identity.validator_id:
        detail = f"looks for validator {hello.acceptor}, this is {identity.validator_id}"
        raise HandshakeError("wrong_validator", f"{detail}: an address in its node file is wrong")
    is_known = bool(identity.keys.get_keys(hello.dialler)) and (peers is None or hello.dialler in peers)
    if not is_known or hello.dialler == identity.validator_id:
        raise HandshakeError(
            "unknown_validator", f"says to be validator {hello.dialler}, which is no peer of this node"
        )


def _verify(identity: Identity, peer: ValidatorId, digest: bytes, proof: bytes) -> None:
    statement = make_statement(identity.network_id, Domain.HELLO, _NO_EPOCH, View(0), digest)
    keys = identity.keys.get_keys(peer)
    if not keys:
        raise HandshakeError("unknown_validator", f"no key is known by which validator {peer} could prove itself")
    if not any(identity.scheme.verify(key, statement, proof) for key in keys):
        raise HandshakeError("bad_proof", f"does not hold the key of validator {peer}")


class _Channel:
    """Handshake messages on a stream: one frame each, tiny, and never one more than the other side is due."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = FrameReader(HELLO_BYTES_MAX)

    async def send(self, message: HandshakeMessage) -> None:
        await self._stream.send_all(encode_frame(_encode(message)))

    async def receive(self, kind: type[M]) -> M:
        frames: list[bytes] = []
        while not frames:
            chunk = await self._stream.receive_some(HELLO_BYTES_MAX)
            if not chunk:
                raise HandshakeError("hung_up", "closed the connection during the handshake", should_refuse=False)
            frames = self._reader.feed(bytes(chunk))
        if len(frames) > 1 or self._reader.pending_bytes:
            raise HandshakeError("malformed_hello", "sent more than its turn")
        return _parse(frames[0], kind)


def _parse(frame: bytes, kind: type[M]) -> M:
    try:
        message = _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HandshakeError("malformed_hello", str(error)) from error
    if isinstance(message, Refusal):
        raise HandshakeError("refused", f"refuses this node: {message.reason}", should_refuse=False)
    if not isinstance(message, kind) or _encode(message) != frame:
        raise HandshakeError("malformed_hello", f"expected {kind.__name__}, got {type(message).__name__}")
    return message


@asynccontextmanager
async def _refusing(channel: _Channel) -> AsyncIterator[None]:
    """Tells the peer why, as far as it still listens, when the block fails."""
    try:
        yield
    except HandshakeError as error:
        if error.should_refuse:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await channel.send(Refusal(error.reason))
        raise
