"""Which addresses a delivery may reach."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.addresses import is_forbidden, why_forbidden

ANY_V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
ANY_V6 = st.integers(0, 2**128 - 1).map(IPv6Address)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),  # noqa: S104 - an address to judge, not to listen on
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "shared by a carrier's NAT"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.169.254", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("169.254.1.1", "link-local"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.7", "documentation"),
        ("198.19.0.1", "benchmarking"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("::8.8.8.8", "IPv4-compatible"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "cloud metadata"),
        ("::ffff:0:10.0.0.1", "IPv4-translated"),
        ("64:ff9b::10.0.0.1", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2001:0:1::1", "Teredo"),
        ("2001:db8::1", "documentation"),
        ("2001:2::1", "benchmarking"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd12::1", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
        ("4000::1", "reserved"),
    ],
)
def test_a_special_address_is_forbidden_and_the_reason_is_named(address: str, kind: str) -> None:
    assert why_forbidden(ip_address(address), ()) == kind


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
)
def test_a_public_address_may_be_reached(address: str) -> None:
    assert why_forbidden(ip_address(address), ()) is None


@given(ANY_V4)
def test_what_the_standard_library_does_not_call_global_is_forbidden(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert is_forbidden(address, ())


@given(ANY_V6)
def test_an_ipv6_address_outside_global_unicast_is_forbidden_unless_it_is_a_mapped_public_one(
    address: IPv6Address,
) -> None:
    if (not address.is_global or address.is_multicast) and address.ipv4_mapped is None:
        assert is_forbidden(address, ())


@given(ANY_V4)
def test_the_mapped_form_is_judged_as_the_address_it_carries(address: IPv4Address) -> None:
    mapped = IPv6Address(0xFFFF_0000_0000 | int(address))
    assert why_forbidden(mapped, ()) == why_forbidden(address, ())


@given(ANY_V4, st.sampled_from([0, 0xFFFF_0000 << 32, 0x64FF9B << 96]))
def test_no_transition_form_reaches_a_forbidden_address(address: IPv4Address, prefix: int) -> None:
    form = IPv6Address(prefix | int(address))
    if is_forbidden(address, ()):
        assert is_forbidden(form, ())


@given(ANY_V4, st.integers(8, 32))
def test_an_allowed_range_lets_its_addresses_through_also_when_mapped(address: IPv4Address, bits: int) -> None:
    allowed = [ip_network((int(address), bits), strict=False)]
    assert not is_forbidden(address, allowed)
    assert not is_forbidden(IPv6Address(0xFFFF_0000_0000 | int(address)), allowed)


def test_allowing_ipv4_loopback_allows_neither_ipv6_loopback_nor_other_private_ranges() -> None:
    allowed = [ip_network("127.0.0.0/8")]
    assert is_forbidden(ip_address("::1"), allowed)
    assert is_forbidden(ip_address("10.0.0.1"), allowed)
    assert is_forbidden(ip_address("64:ff9b::127.0.0.1"), allowed)
    assert is_forbidden(ip_address("2002:7f00:1::"), allowed)


def test_allowing_ipv6_loopback_alone_is_enough_to_reach_it() -> None:
    assert not is_forbidden(ip_address("::1"), [ip_network("::1/128")])


def test_allowing_nat64_still_judges_the_address_behind_it() -> None:
    allowed = [ip_network("64:ff9b::/96")]
    assert not is_forbidden(ip_address("64:ff9b::8.8.8.8"), allowed)
    assert is_forbidden(ip_address("64:ff9b::10.0.0.1"), allowed)


def test_allowing_6to4_and_teredo_still_judges_the_address_behind_them() -> None:
    allowed = [ip_network("2002::/16"), ip_network("2001::/32")]
    assert is_forbidden(ip_address("2002:7f00:1::"), allowed)
    assert not is_forbidden(ip_address("2002:808:808::"), allowed)
    assert is_forbidden(ip_address("2001:0:1::80ff:fffe"), allowed)
