"""Addresses, and who holds a port."""

import errno
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.ports import (
    Address,
    PortUnavailableError,
    check_ports_free,
    explain_bind_error,
    find_port_owner,
    parse_address,
)

HOSTS = st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True))


@given(host=HOSTS, port=st.integers(0, 65_535))
def test_an_address_reads_back_as_it_is_written(host: str, port: int) -> None:
    assert parse_address(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", ":80", "a:", "a:65536", "a:-1", "a:1:2", "::1:80", "[::1]80", "http://a:80", "a b:80", "a:٣"],
)
def test_what_is_no_address_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match='expected "host:port"'):
        parse_address(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_busy_port_names_its_owner(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as holder:
        try:
            holder.bind((host, 0))
        except OSError:
            # Containers often have none, and then there is no busy port to tell of; the IPv4 case always runs.
            pytest.skip("this machine has no IPv6")
        holder.listen()
        address = Address(host, holder.getsockname()[1])
        owner = find_port_owner(address.port)
        assert owner is not None
        assert owner.pid == os.getpid()
        with pytest.raises(PortUnavailableError, match=rf"port {address.port} is held by .* \(pid {owner.pid}\)"):
            check_ports_free([address])
    check_ports_free([address])
    assert find_port_owner(address.port) is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EADDRINUSE, "held by another process, perhaps of another user"),
        (errno.EACCES, "below 1024"),
        (errno.EADDRNOTAVAIL, "no interface of this machine has the address"),
        (errno.EMFILE, "Too many open files"),
    ],
)
def test_each_reason_is_told_with_a_way_out(code: int, said: str) -> None:
    # Nobody listens on port 1, so no owner is found.
    error = explain_bind_error(Address("127.0.0.1", 1), OSError(code, "raw"))
    assert str(error).startswith("cannot listen on 127.0.0.1:1: ")
    assert said in str(error)
