"""What the host of a URL means."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_core.domain.hosts import ascii_url, parse_host, parse_http_url


@pytest.mark.parametrize(
    "spelling",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0X7F.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.1",
        "%31%32%37.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "１２７．０．０．１",  # noqa: RUF001 - the trick is the look
    ],
)
def test_every_spelling_of_an_ipv4_address_is_that_address(spelling: str) -> None:
    assert parse_host(spelling) == IPv4Address("127.0.0.1")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://[::1]/", "::1"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
        ("http://[::FFFF:7F00:1]:80/", "::ffff:127.0.0.1"),
        ("http://[fe80::1%25eth0]/", "fe80::1"),
        ("http://user:secret@[::1]:8080/", "::1"),
    ],
)
def test_a_bracketed_host_is_an_ipv6_address(url: str, address: str) -> None:
    assert parse_http_url(url).host == ip_address(address)


@pytest.mark.parametrize(
    ("url", "host"), [("http://EXAMPLE.com./a", "example.com"), ("https://bücher.example", "xn--bcher-kva.example")]
)
def test_a_name_is_read_in_lower_case_and_ascii(url: str, host: str) -> None:
    assert parse_http_url(url).host == host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:80/",
        "http://a..b/",
        "http://127.0.0.08/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://1.2.3.256/",
        "http://4294967296/",
        "http://foo.1/",
        "http://[::1/",
        "http://[zz::1]/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:x/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: y",
        "http://good.example\\@10.0.0.1/",
        "http://%00/",
        "http://%ff%fe/",
        "http://-/",
        "http://" + "a" * 64 + "ü.example/",
        "http://example.com/" + "a" * 2_048,
    ],
)
def test_a_malformed_url_is_a_value_error_that_does_not_quote_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(the URL|a URL|port)") as caught:
        parse_http_url(url)
    assert not url or url not in str(caught.value)


def test_the_authority_and_the_origin_never_show_credentials() -> None:
    target = parse_http_url("https://user:secret@api.example/a?token=1")
    assert (target.authority, str(target)) == ("api.example:443", "https://api.example:443")
    assert parse_http_url("http://[2606:4700::1111]/").authority == "[2606:4700::1111]:80"


def test_a_url_goes_on_the_wire_in_ascii() -> None:
    assert ascii_url("https://example.com/a?b=c#d") == "https://example.com/a?b=c#d"
    assert (
        ascii_url("https://bücher.example:8443/straße?ü=ö#é")
        == "https://xn--bcher-kva.example:8443/stra%C3%9Fe?%C3%BC=%C3%B6"
    )


@given(st.text(max_size=80))
def test_no_text_makes_the_parser_raise_anything_but_a_value_error(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/"):
        try:
            parse_http_url(url)
            assert ascii_url(url).isascii()
        except ValueError:
            pass
