"""Who may talk to a node: every way to be somebody else, or nobody, ends with a reason."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from consensus.signatures import Domain, Signer, make_statement
from consensus.types import NetworkId, ValidatorId, View
from sequencer.keys import generate_key
from sequencer.transport.framing import FrameError, FrameReader, encode_frame
from sequencer.transport.handshake import (
    PROTOCOL_VERSION,
    Answer,
    HandshakeError,
    HandshakeMessage,
    Hello,
    Identity,
    Proof,
    Welcome,
    accept,
    compute_digest,
    dial,
)
from tests.node.mesh import Keyring

N0, N1, N2 = ValidatorId(0), ValidatorId(1), ValidatorId(2)
KEYRING = Keyring(3)
DIALLER, ACCEPTOR = 1, 2


class Meeting:
    """Both ends of one handshake: what each side found, or why it hung up."""

    def __init__(self) -> None:
        self.accepted: ValidatorId | None = None
        self.reasons: dict[str, str] = {}

    async def hold(
        self, name: str, stream: trio.abc.Stream, side: Callable[[trio.abc.Stream], Awaitable[ValidatorId | None]]
    ) -> None:
        try:
            found = await side(stream)
            self.accepted = self.accepted if found is None else found
        except (HandshakeError, FrameError) as error:
            self.reasons[name] = error.reason
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.reasons[name] = "broken"
        finally:
            await stream.aclose()


async def meet(dialler: Identity, acceptor: Identity, looks_for: ValidatorId = N1) -> Meeting:
    meeting = Meeting()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meeting.hold, "dialler", ours, lambda stream: dial(stream, dialler, looks_for))
        nursery.start_soon(meeting.hold, "acceptor", theirs, lambda stream: accept(stream, acceptor))
    return meeting


async def refuse(*frames: bytes, acceptor: Identity | None = None, peers: tuple[ValidatorId, ...] | None = None) -> str:
    """The reason for which a node hangs up on someone who sends just this."""
    meeting = Meeting()
    ours, theirs = memory_stream_pair()
    await ours.send_all(b"".join(map(encode_frame, frames)))
    await ours.send_eof()
    await meeting.hold("acceptor", theirs, lambda stream: accept(stream, acceptor or KEYRING.identity(1), peers))
    assert meeting.accepted is None
    return meeting.reasons["acceptor"]


def make_hello(**changes: object) -> bytes:
    hello = Hello(PROTOCOL_VERSION, KEYRING.context.network_id, N0, N1, bytes(32))
    return msgspec.msgpack.encode(msgspec.structs.replace(hello, **changes))


async def receive(stream: trio.abc.Stream) -> HandshakeMessage:
    reader = FrameReader()
    while not (frames := reader.feed(bytes(await stream.receive_some(512)))):
        pass
    message: HandshakeMessage = msgspec.msgpack.decode(frames[0], type=HandshakeMessage)
    return message


async def test_both_sides_learn_who_is_there() -> None:
    meeting = await meet(KEYRING.identity(0), KEYRING.identity(1))
    assert (meeting.accepted, meeting.reasons) == (N0, {})


async def test_another_network_is_refused_and_told_so() -> None:
    stranger = Keyring(3, name="elsewhere")
    foreign = replace(KEYRING.identity(0), network_id=stranger.context.network_id)
    meeting = await meet(foreign, KEYRING.identity(1))
    assert (meeting.accepted, meeting.reasons) == (None, {"acceptor": "wrong_network", "dialler": "refused"})


async def test_somebody_elses_key_is_refused() -> None:
    impostor = KEYRING.identity(0, KEYRING.signers[2])
    meeting = await meet(impostor, KEYRING.identity(1))
    assert (meeting.accepted, meeting.reasons) == (None, {"acceptor": "bad_proof", "dialler": "refused"})


async def test_whoever_answers_must_hold_the_key_too() -> None:
    impostor = KEYRING.identity(1, KEYRING.signers[2])
    meeting = await meet(KEYRING.identity(0), impostor)
    assert (meeting.accepted, meeting.reasons) == (None, {"dialler": "bad_proof", "acceptor": "refused"})


async def test_while_a_key_is_rotated_the_old_and_the_new_one_prove_the_validator() -> None:
    old, new = KEYRING.signers[0].public_key, generate_key()
    acceptor = KEYRING.identity(1)
    cases: list[tuple[set[bytes], Signer | None, bool]] = [
        ({old}, None, True),
        ({old}, new, False),
        ({old, new.public_key}, None, True),
        ({old, new.public_key}, new, True),
        ({new.public_key}, new, True),
        ({new.public_key}, None, False),
        (set(), None, False),
    ]
    for listed, signer, is_accepted in cases:
        keys = {**KEYRING.keys, N0: frozenset(listed)}
        acceptor.keys.set_keys(keys)
        assert ((await meet(KEYRING.identity(0, signer), acceptor)).accepted == N0) is is_accepted
        # The same of the side that dials.
        dialler = KEYRING.identity(2)
        dialler.keys.set_keys(keys)
        meeting = await meet(dialler, KEYRING.identity(0, signer), looks_for=N0)
        assert (meeting.accepted == N2) is is_accepted
        if not is_accepted:
            assert meeting.reasons["dialler"] == ("bad_proof" if listed else "unknown_validator")


async def test_who_is_no_peer_is_refused_whatever_it_could_prove() -> None:
    assert await refuse(make_hello(), peers=(N2,)) == "unknown_validator"
    acceptor = KEYRING.identity(1)
    acceptor.keys.set_keys({N2: KEYRING.keys[N2]})
    assert await refuse(make_hello(), acceptor=acceptor) == "unknown_validator"


async def test_an_address_that_leads_to_another_validator_is_noticed() -> None:
    meeting = await meet(KEYRING.identity(0), KEYRING.identity(2), looks_for=N1)
    assert meeting.reasons == {"acceptor": "wrong_validator", "dialler": "refused"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": PROTOCOL_VERSION + 1}, "wrong_version"),
        ({"network_id": NetworkId(b"x" * 32)}, "wrong_network"),
        ({"acceptor": N2}, "wrong_validator"),
        ({"dialler": N1}, "unknown_validator"),
        ({"dialler": ValidatorId(77)}, "unknown_validator"),
        ({"challenge": b"short"}, "malformed_hello"),
    ],
)
async def test_a_wrong_hello_gets_its_reason(changes: dict[str, object], reason: str) -> None:
    assert await refuse(make_hello(**changes)) == reason


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\xc1", "malformed_hello"),
        (b"GET / HTTP/1.1\r\n", "malformed_hello"),
        (make_hello() + b"\0", "malformed_hello"),
        (make_hello().replace(b"\x96\x01\x02", b"\x96\x01\xcc\x02"), "malformed_hello"),
        (msgspec.msgpack.encode(Welcome()), "malformed_hello"),
        (b"x" * 513, "oversized_frame"),
    ],
    ids=["no message", "http", "trailing byte", "longer integer", "not its turn", "oversized"],
)
async def test_what_is_no_hello_gets_its_reason(frame: bytes, reason: str) -> None:
    assert await refuse(frame) == reason


async def test_more_than_a_hello_is_refused() -> None:
    assert await refuse(make_hello(), make_hello()) == "malformed_hello"


async def test_a_recorded_hello_is_worth_nothing() -> None:
    # A wire between the two keeps what the dialler says.
    recorded: list[bytes] = []
    meeting = Meeting()
    ours, tap = memory_stream_pair()
    relay, theirs = memory_stream_pair()

    async def record() -> None:
        async for chunk in tap:
            recorded.append(bytes(chunk))
            await relay.send_all(chunk)

    async def answer() -> None:
        async for chunk in relay:
            await tap.send_all(chunk)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(record)
        nursery.start_soon(answer)
        async with trio.open_nursery() as sides:
            sides.start_soon(meeting.hold, "dialler", ours, lambda stream: dial(stream, KEYRING.identity(0), N1))
            sides.start_soon(meeting.hold, "acceptor", theirs, lambda stream: accept(stream, KEYRING.identity(1)))
        nursery.cancel_scope.cancel()
    assert (meeting.accepted, meeting.reasons) == (N0, {})

    async def replay(stream: trio.abc.Stream) -> None:
        for chunk in recorded:
            await stream.send_all(chunk)
            assert isinstance(await receive(stream), Answer) or chunk is recorded[-1]

    again = Meeting()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.hold, "replayer", ours, replay)
        nursery.start_soon(again.hold, "acceptor", theirs, lambda stream: accept(stream, KEYRING.identity(1)))
    assert (again.accepted, again.reasons) == (None, {"acceptor": "bad_proof"})


async def test_an_acceptors_own_proof_cannot_be_sent_back_to_it() -> None:
    async def reflect(stream: trio.abc.Stream) -> None:
        await stream.send_all(encode_frame(make_hello()))
        answer = await receive(stream)
        assert isinstance(answer, Answer)
        await stream.send_all(encode_frame(msgspec.msgpack.encode(Proof(answer.proof))))
        await receive(stream)

    meeting = Meeting()
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meeting.hold, "mirror", ours, reflect)
        nursery.start_soon(meeting.hold, "acceptor", theirs, lambda stream: accept(stream, KEYRING.identity(1)))
    assert (meeting.accepted, meeting.reasons) == (None, {"acceptor": "bad_proof"})


def test_a_proof_is_no_signature_of_anything_else() -> None:
    hello = Hello(PROTOCOL_VERSION, KEYRING.context.network_id, N0, N1, b"a" * 32)
    digest = compute_digest(DIALLER, hello, b"b" * 32)
    proof = KEYRING.identity(0).prove(digest)
    context, public_key = KEYRING.context, KEYRING.signers[0].public_key
    valid_as = {
        domain: context.scheme.verify(
            public_key, make_statement(context.network_id, domain, context.epoch, View(0), digest), proof
        )
        for domain in Domain
    }
    assert valid_as == {domain: domain is Domain.HELLO for domain in Domain}


def test_a_digest_binds_direction_version_identities_and_both_challenges() -> None:
    hello = Hello(PROTOCOL_VERSION, KEYRING.context.network_id, N0, N1, b"a" * 32)
    variants = [
        (DIALLER, hello, b"b" * 32),
        (ACCEPTOR, hello, b"b" * 32),
        (DIALLER, hello, b"c" * 32),
        *(
            (DIALLER, msgspec.structs.replace(hello, **change), b"b" * 32)
            for change in (
                {"version": PROTOCOL_VERSION + 1},
                {"network_id": b"x" * 32},
                {"dialler": N2},
                {"acceptor": N2},
                {"challenge": b"d" * 32},
            )
        ),
    ]
    assert len({compute_digest(*variant) for variant in variants}) == len(variants)


@settings(deadline=None, max_examples=60)
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_changed_byte_of_either_side_goes_unnoticed(place: int, flip: int) -> None:
    """Whatever a wire changes in the handshake, the side that is lied to does not take the other for proven."""

    async def run() -> None:
        meeting, passed = Meeting(), [0]
        ours, left = memory_stream_pair()
        right, theirs = memory_stream_pair()
        # Hello, Answer and Proof take 85 + 106 + 73 bytes; a change in Welcome proves nothing about anyone.
        target = place % 240

        async def pump(source: trio.testing.MemoryReceiveStream, sink: trio.testing.MemorySendStream) -> None:
            async for chunk in source:
                data = bytearray(chunk)
                if passed[0] <= target < passed[0] + len(data):
                    data[target - passed[0]] ^= flip
                passed[0] += len(data)
                await sink.send_all(data)
            await sink.aclose()

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, left.receive_stream, right.send_stream)
                nursery.start_soon(pump, right.receive_stream, left.send_stream)
                nursery.start_soon(meeting.hold, "acceptor", theirs, lambda s: accept(s, KEYRING.identity(1)))
                nursery.start_soon(meeting.hold, "dialler", ours, lambda s: dial(s, KEYRING.identity(0), N1))
                # A lengthened frame makes a side wait for more: the transport's deadline ends that.
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert meeting.accepted is None

    trio.run(run)
