"""Arbitrary objects of every wire type, by their bounds and nothing else."""

from hypothesis import strategies as st

from consensus.certificates import FinalityCertificate, QuorumCertificate, TimeoutCertificate
from consensus.leaf import Leaf
from consensus.messages import (
    FinalizeVote,
    LeafRequest,
    LeafResponse,
    Message,
    QuorumProposal,
    QuorumVote,
    RangeRequest,
    RangeResponse,
    StatusRequest,
    StatusResponse,
    TimeoutVote,
    TransactionForward,
)

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
leaves = st.builds(
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
    justify_qc=quorum_certificates,
    timeout_certificate=st.none() | timeout_certificates,
)
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
    st.builds(TransactionForward, st.lists(st.binary(max_size=40), max_size=5).map(tuple)),
)
