"""No URL of a data set makes a socket reach an address that is not public: parsed, resolved, redirected or rebound."""

from __future__ import annotations

import asyncio
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.crawl import _connect
from cupel.operators.crawl._addresses import MAX_URL, is_public, join_url, on_list, parse_url, vet_url
from cupel.operators.crawl._connect import Names, Resolver, Sockets, open_session
from cupel.operators.crawl._http import BodyRoom, Client, Limits
from cupel.operators.crawl._reasons import FetchError, Reason

PRIVATE = (
    "127.0.0.1 127.255.255.255 0.0.0.0 0.1.2.3 10.0.0.1 192.168.0.1 172.16.0.0 172.31.255.255 169.254.169.254",
    "169.254.0.1 255.255.255.255 100.64.0.0 100.127.255.255 100.100.100.200 192.0.0.192 168.63.129.16 224.0.0.1",
    "239.255.255.255 240.0.0.1 198.18.0.1 192.0.2.1 192.88.99.1 ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 fec0::1",
    "fe80::1%eth0 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 ::ffff:0:10.0.0.1 64:ff9b::7f00:1 64:ff9b::808:808",
    "64:ff9b:1::1 2002:7f00:1:: 2002:808:808:: 2001::1 2001:0:7f00:1:: 2001:db8::1 3fff::1 100::1 2606::5efe:7f00:1",
    "example.org 1.2.3 0x7f.1 2130706433",
)
PUBLIC = (
    "100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.0 8.8.8.8 9.9.9.9 11.0.0.0 126.255.255.255 128.0.0.1",
    "169.253.255.255 223.255.255.255 2606:4700::1111 2a00:1450:4001::200e 2001:4860:4860::8888",
)
ADDRESSES = [(address, lines is PUBLIC) for lines in (PRIVATE, PUBLIC) for line in lines for address in line.split()]


@pytest.mark.parametrize(("address", "public"), ADDRESSES)
def test_addresses(address, public):
    assert is_public(address) is public


@given(st.ip_addresses())
def test_what_the_standard_library_calls_private_is_not_public(ip):
    if is_public(str(ip)):
        assert ip.is_global and not ip.is_multicast and not ip.is_private and not ip.is_loopback
        assert not (isinstance(ip, IPv6Address) and (ip.ipv4_mapped or ip.sixtofour or ip.teredo))


def test_own_interfaces_are_not_public():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", 9))
        assert not is_public(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://user@example.org/", Reason.REFUSED_URL),
        ("http://user:pass@example.org/", Reason.REFUSED_URL),
        ("http://@example.org/", None),
        ("http://2130706433/", Reason.INVALID_URL),
        ("http://0x7f.1/", Reason.INVALID_URL),
        ("http://0177.0.0.1/", Reason.INVALID_URL),
        ("http://127.1/", Reason.INVALID_URL),
        ("http://127.0.0.1./", Reason.BLOCKED_ADDRESS),
        ("http://１２７.0.0.1/", Reason.BLOCKED_ADDRESS),
        ("http://127。0。0。1/", Reason.BLOCKED_ADDRESS),
        ("http://①②⑦.0.0.1/", Reason.BLOCKED_ADDRESS),
        ("http://[::1]/", Reason.BLOCKED_ADDRESS),
        ("http://[::ffff:127.0.0.1]/", Reason.BLOCKED_ADDRESS),
        ("http://[fe80::1%25eth0]/", Reason.BLOCKED_ADDRESS),
        ("http://[example.com]/", Reason.INVALID_URL),
        ("http://exa\tmple.com/", Reason.INVALID_URL),
        ("http://example.com/a\nb", Reason.INVALID_URL),
        ("http:\\\\example.com\\a", Reason.INVALID_URL),
        ("http://example.com\\@127.0.0.1/", Reason.INVALID_URL),
        ("http://exa mple.com/", Reason.INVALID_URL),
        ("http://a%00b.com/", Reason.INVALID_URL),
        ("http://a..b/", Reason.INVALID_URL),
        ("http://-a.com/", Reason.INVALID_URL),
        ("http:///path", Reason.INVALID_URL),
        ("http://[::1]:80@/", Reason.INVALID_URL),
        ("http://example.org:22/", Reason.REFUSED_URL),
        ("http://example.org:6379/", Reason.REFUSED_URL),
        ("http://example.org:99999/", Reason.INVALID_URL),
        ("gopher://example.org/", Reason.REFUSED_URL),
        ("file:///etc/passwd", Reason.REFUSED_URL),
        ("//example.org/", Reason.REFUSED_URL),
        ("javascript:alert(1)", Reason.REFUSED_URL),
        ("http://example.org/" + "a" * 65_536, Reason.INVALID_URL),
        ("http://" + "a" * 64 + ".org/", Reason.INVALID_URL),
        ("http://example.org:8443/", None),
        ("https://example.org:8080/", None),
        ("HTTP://EXAMPLE.org/A/../b c?d=e f#g", None),
    ],
)
def test_shapes_of_urls(text, reason):
    if reason is None:
        url = vet_url(text)
        assert url.raw_host == "example.org" and not url.raw_fragment
        assert " " not in str(url)
    else:
        with pytest.raises(FetchError) as told:
            vet_url(text)
        assert told.value.reason is reason


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("http://BÜCHER.de/ä", "http://xn--bcher-kva.de/%C3%A4"),
        ("http://example.org./a", "http://example.org/a"),
        (" \n http://example.org/a#b ", "http://example.org/a"),
        ("http://my_site.example.org/", "http://my_site.example.org/"),
        ("http://example.org/a%2Fb%20c", "http://example.org/a%2Fb%20c"),
    ],
)
def test_canonical_form(text, found):
    assert str(vet_url(text)) == found


def test_allowed_hosts_are_allowed_by_name_and_port():
    allow = frozenset(("localhost:9000", "127.0.0.2"))
    assert str(vet_url("http://localhost:9000/a", allow)) == "http://localhost:9000/a"
    assert vet_url("http://127.0.0.2:1234/", allow).port == 1234
    for text in ("http://localhost:9001/", "http://127.0.0.1/", "http://user@127.0.0.2/"):
        with pytest.raises(FetchError):
            vet_url(text, allow)


@pytest.mark.parametrize("link", ["//127.0.0.1/a", "http://10.0.0.1/", "a\r\nb", "x:y", "a" * (MAX_URL + 1)])
def test_links_are_vetted_like_urls(link):
    with pytest.raises(FetchError):
        join_url(vet_url("http://example.org/a/b"), link)


def test_lists_of_domains():
    assert on_list("A.B.Example.com", frozenset(("example.com",))) == "example.com"
    assert on_list("badexample.com", frozenset(("example.com",))) is None


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (("93.184.216.34",), None),
        (("127.0.0.1",), Reason.BLOCKED_ADDRESS),
        (("93.184.216.34", "10.0.0.1"), Reason.BLOCKED_ADDRESS),
        (("2606:4700::1111", "::1"), Reason.BLOCKED_ADDRESS),
        ((), Reason.DNS_FAILED),
    ],
)
def test_one_private_answer_among_public_ones_is_enough(answers, found, monkeypatch):
    monkeypatch.setattr(_connect, "_getaddrinfo", lambda host: answers)

    async def resolve() -> list[str]:
        resolver = Resolver(Names(), frozenset())
        try:
            return [each["host"] for each in await resolver.resolve("example.org", 80)]
        finally:
            await resolver.close()

    if found is None:
        assert asyncio.run(resolve()) == list(answers)
    else:
        with pytest.raises(FetchError) as told:
            asyncio.run(resolve())
        assert told.value.reason is found


def test_a_name_is_resolved_once_so_that_it_cannot_be_bound_anew(monkeypatch):
    """The second answer would be private; nobody asks for it."""
    asked = []
    monkeypatch.setattr(_connect, "_getaddrinfo", lambda host: (asked.append(host), ("93.184.216.34",))[1])

    async def resolve() -> None:
        resolver = Resolver(Names(), frozenset())
        await asyncio.gather(*(resolver.resolve("example.org", port) for port in (80, 443, 80)))
        await resolver.resolve("example.org", 80)
        await resolver.close()

    asyncio.run(resolve())
    assert asked == ["example.org."], "and without a cluster's search domains"


def test_a_zone_makes_no_address_public():
    assert is_public("2606:4700::1111") and not is_public("2606:4700::1111%1")


@given(st.text(alphabet="ab%2cC/?#&=+ü |[]{}'\"<>~.^`;,@:", max_size=30))
def test_what_was_parsed_is_parsed_to_itself(tail):
    """Or a redirect's target, and a link of crawl.site, would be another URL when it is asked for."""
    once = parse_url(f"http://example.org/{tail}")
    assert parse_url(str(once)) == once and str(parse_url(str(once))) == str(once)


def test_the_socket_is_the_last_wall():
    """Whatever a resolver or a URL said: no socket is made for a private address."""
    make = Sockets(Names(), frozenset())
    for family, address in ((socket.AF_INET, ("127.0.0.1", 80)), (socket.AF_INET6, ("::1", 80, 0, 0))):
        with pytest.raises(FetchError):
            make((family, socket.SOCK_STREAM, 0, "", address))


@pytest.fixture(scope="module")
def traps():
    """Listeners on loopback that note who connects."""
    hits: list[object] = []
    listeners = [socket.create_server((host, 0)) for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3")]

    def listen(listener: socket.socket) -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            hits.append(peer)
            connection.close()

    threads = [threading.Thread(target=listen, args=(each,), daemon=True) for each in listeners]
    for thread in threads:
        thread.start()
    yield [each.getsockname()[:2] for each in listeners], hits
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def spellings(ip: IPv4Address) -> list[str]:
    number, parts = int(ip), str(ip).split(".")
    wide = str.maketrans("0123456789.", "０１２３４５６７８９。")
    return [
        *(str(ip), f"{ip}.", str(number), hex(number), f"0{number:o}", ".".join(f"0{int(part):o}" for part in parts)),
        *(".".join(map(hex, map(int, parts))), f"{parts[0]}.{number & 0xFFFFFF}", str(ip).translate(wide)),
        *(f"[::ffff:{ip}]", f"[::{ip}]", f"[64:ff9b::{ip}]", f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::]"),
        *(
            f"example.org@{ip}",
            f"{ip}#@example.org",
            f"{ip}%2f@example.org",
            f"{ip}\\@example.org",
            f"%31{str(ip)[1:]}",
        ),
        *("localhost", "LOCALHOST.", "localhost.localdomain", f"{ip}%00.example.org", f"\t{ip}", f"{ip} "),
    ]


@given(st.data())
def test_no_url_reaches_a_listener_that_is_not_allowed(traps, data):
    places, hits = traps
    host, port = data.draw(st.sampled_from(places))
    spelled = data.draw(st.sampled_from(spellings(ip_address(host))))
    scheme = data.draw(st.sampled_from(["http", "https", "HTTP", "ws", "ftp", " http"]))
    tail = data.draw(st.sampled_from(["/", "/a.jpg", "", "?a", "#", "\\", "/../"]))
    at = data.draw(st.sampled_from([f":{port}", "", f":0{port}", f":{port}@", "@"]))
    assert asyncio.run(_try(f"{scheme}://{spelled}{at}{tail}")) != "reached"
    assert hits == []


async def _try(text: str) -> str:
    """As far as it goes: with the URL's own vetting, and without it."""
    names = Names()
    resolver = Resolver(names, frozenset())
    try:
        async with open_session(names, resolver, frozenset(), "cupel/1 (@)", "*/*") as session:
            client = Client(session, 0.5, 0.5, "identity", checked=True, room=BodyRoom())
            try:
                await client.get(vet_url(text), Limits(max_bytes=100), 1.0)
            except FetchError:
                pass
            else:
                return "reached"
            try:
                async with session.get(text, allow_redirects=False):
                    return "reached"
            except Exception as error:  # noqa: BLE001
                return type(error).__name__
    finally:
        await resolver.close()


def test_a_link_may_have_backslashes_as_browsers_have_it():
    base = parse_url("http://example.org/a/b.html")
    assert str(parse_url(r"images\x.html?q=1", base)) == "http://example.org/a/images/x.html?q=1"
    assert str(parse_url(r"\\example.net\x", base)) == "http://example.net/x"
