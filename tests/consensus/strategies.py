"""Arbitrary objects of every wire type, by their bounds and nothing else."""

from hypothesis import strategies as st

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.evidence import (
    BrokenPromise,
    DoubleFinalize,
    DoubleProposal,
    DoubleVote,
    ForgottenFinalize,
    SignedLeaf,
    UnjustifiedVote,
)
from consensus.header import LeafHeader
from consensus.leaf import BeaconResult, EpochProof, Leaf
from consensus.messages import (
    EpochEnd,
    EvidenceNotice,
    FinalizeVote,
    LeafRequest,
    LeafResponse,
    Message,
    OperationNotice,
    PromiseRequest,
    PromiseResponse,
    QuorumProposal,
    QuorumVote,
    RangeRequest,
    RangeResponse,
    Snapshot,
    SnapshotRequest,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
    TransactionForward,
)
from consensus.operations import Bond, RotateKey, Unbond, Unjail
from consensus.promises import Promise

numbers = st.one_of(st.integers(0, 300), st.sampled_from([2**7, 2**8 - 1, 2**16, 2**32, 2**63 - 1]))
commitments = st.binary(min_size=32, max_size=32)
validators = st.one_of(st.integers(0, 300), st.just(2**16 - 1))
signatures = st.binary(max_size=128)
proofs = st.binary(max_size=300)
bitmaps = st.binary(max_size=20)

quorum_certificates = st.builds(QuorumCertificate, numbers, numbers, bitmaps, proofs, commitments)
finality_certificates = st.builds(
    FinalityCertificate, numbers, numbers, bitmaps, proofs, commitments, quorum_certificates
)
timeout_certificates = st.builds(
    TimeoutCertificate,
    numbers,
    numbers,
    bitmaps,
    proofs,
    st.lists(numbers, max_size=5).map(tuple),
    quorum_certificates,
)
keys = st.binary(min_size=16, max_size=96)
amounts = st.integers(1, 300)
signed = (keys, numbers, signatures)
operations = st.one_of(
    st.builds(Bond, *signed, keys, amounts, st.sampled_from(["n0", "a-b_c"]), st.just("127.0.0.1:1"), signatures),
    st.builds(Unbond, *signed, validators, amounts),
    st.builds(Unjail, *signed, validators),
    st.builds(RotateKey, *signed, validators, keys, signatures),
)
headers = st.builds(
    LeafHeader,
    version=numbers,
    epoch=numbers,
    view=numbers,
    height=numbers,
    parent=commitments,
    proposer=validators,
    timestamp_ms=numbers,
    payload=commitments,
    payload_bytes=numbers,
    ledger=commitments,
    body=commitments,
    justify_qc=quorum_certificates,
    timeout_certificate=st.none() | timeout_certificates,
)
signed_leaves = st.builds(SignedLeaf, commitments, signatures)
pair = (validators, numbers, numbers, signed_leaves, signed_leaves)
promises = st.builds(Promise, validators, numbers, numbers, numbers, commitments, st.binary(max_size=96), signatures)
evidences = st.one_of(
    *(st.builds(kind, *pair) for kind in (DoubleProposal, DoubleVote, DoubleFinalize)),
    st.builds(ForgottenFinalize, validators, numbers, numbers, signed_leaves, numbers, numbers, signatures),
    st.builds(UnjustifiedVote, validators, headers, signatures),
    st.builds(BrokenPromise, promises, numbers),
)
beacons = st.builds(BeaconResult, st.lists(commitments, min_size=1, max_size=3).map(tuple))


def build_leaves(epoch_proofs: st.SearchStrategy[EpochProof | None]) -> st.SearchStrategy[Leaf]:
    return st.builds(
        Leaf,
        version=numbers,
        epoch=numbers,
        view=numbers,
        height=numbers,
        parent=commitments,
        proposer=validators,
        timestamp_ms=numbers,
        payload=commitments,
        payload_bytes=numbers,
        ledger=commitments,
        operations=st.lists(operations, max_size=2).map(tuple),
        evidence=st.lists(evidences, max_size=2).map(tuple),
        beacon=st.none() | beacons,
        justify_qc=quorum_certificates,
        timeout_certificate=st.none() | timeout_certificates,
        epoch_proof=epoch_proofs,
    )


epoch_proofs = st.builds(EpochProof, finality_certificates, st.lists(build_leaves(st.none()), max_size=2).map(tuple))
leaves = build_leaves(st.none() | epoch_proofs)
payloads = st.binary(max_size=400)
votes = (numbers, numbers, commitments, validators, signatures)
leaf_responses = st.builds(LeafResponse, leaves, payloads)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(QuorumProposal, leaves, payloads, signatures),
    st.builds(QuorumVote, *votes),
    st.builds(FinalizeVote, *votes),
    st.builds(
        TimeoutVote,
        numbers,
        numbers,
        numbers,
        validators,
        signatures,
        quorum_certificates,
        st.none() | timeout_certificates,
    ),
    st.builds(StatusRequest, numbers, numbers),
    st.builds(StatusResponse, quorum_certificates, st.none() | finality_certificates, st.none() | timeout_certificates),
    st.builds(LeafRequest, commitments),
    leaf_responses,
    st.builds(RangeRequest, numbers),
    st.builds(
        RangeResponse,
        st.lists(leaf_responses, min_size=1, max_size=3).map(tuple),
        st.lists(leaves, max_size=2).map(tuple),
        finality_certificates,
    ),
    st.builds(EvidenceNotice, evidences),
    st.builds(OperationNotice, operations),
    st.builds(EpochEnd, numbers, epoch_proofs),
    st.builds(SnapshotRequest, numbers),
    st.builds(Snapshot, epoch_proofs, leaves, leaves, payloads),
    st.builds(PromiseRequest, numbers, payloads, st.binary(max_size=96)),
    st.builds(PromiseResponse, numbers, st.none() | promises, st.text(max_size=20)),
    st.builds(TransactionForward, st.lists(st.binary(max_size=40), max_size=5).map(tuple)),
)
