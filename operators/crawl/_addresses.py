"""Which URLs and addresses may be asked: a URL of a data set must not lead into the network it is fetched from.

One parser (yarl) reads a URL, and the object that was vetted is the one that is fetched. A name is resolved once; if
any of its addresses is not global, none is connected to. The address is checked again when the socket is made, which
is where literals and redirects end up, too. Transition addresses (6to4, Teredo, NAT64, mapped) are refused whatever
they embed.
"""

from __future__ import annotations

import functools
import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Final

from yarl import URL

from ._reasons import FetchError, Reason

MAX_URL: Final = 8192  # characters
PORTS: Final = (80, 443, 8080, 8443)
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}$)(?:{_LABEL}\.)*{_LABEL}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_BAD: Final = re.compile(r"[\x00-\x20\x7f\\]")
_ILLEGAL: Final = re.compile(r"[^!#-;=?-_a-z|~]+")  # blanks, " < > ` { }, and what is not ASCII
# ipaddress knows these by its version of the IANA registries; what is listed here does not depend on it.
_BLOCKED_V4: Final = tuple(map(ip_network, (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    "168.63.129.16/32",  # Azure's wire server
)))  # fmt: skip
_GLOBAL_V6: Final = ip_network("2000::/3")
_BLOCKED_V6: Final = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def vet_url(text: str, allow_hosts: frozenset[str] = frozenset()) -> URL:
    """The URL to fetch, without its fragment. Raises FetchError."""
    return _vetted(parse_url(text), allow_hosts)


def join_url(base: URL, text: str, allow_hosts: frozenset[str] = frozenset()) -> URL:
    """A link or a redirect resolved against where it stands, to be fetched. Raises FetchError."""
    return _vetted(parse_url(text, base), allow_hosts)


def parse_url(text: str, base: URL | None = None) -> URL:
    """An http or https URL, wherever it leads. Raises FetchError."""
    text = text.strip(" \t\r\n\f")
    if base is not None:  # a link: browsers read a backslash before the query as a slash
        path = re.split(r"[?#]", text, maxsplit=1)[0]
        text = path.replace("\\", "/") + text[len(path) :]
    if len(text) > MAX_URL:
        raise FetchError(Reason.INVALID_URL, f"{len(text):,} characters; at most {MAX_URL:,}")
    if _BAD.search(text):
        text = _escaped_blanks(text)
    try:
        url, written = URL(text), URL(text, encoded=True)
        if base is not None:
            url, written = base.join(url), base.join(written)
        if url.scheme not in ("http", "https"):
            raise FetchError(Reason.REFUSED_URL, f"scheme {url.scheme[:20]!r}; only http and https are fetched")
        return _as_written(url, written)
    except (ValueError, LookupError) as error:  # LookupError: `http://[::1]:80@/` in yarl 1.25
        raise FetchError(Reason.INVALID_URL, f"{type(error).__name__}: {error}"[:200]) from None


def _as_written(url: URL, written: URL) -> URL:
    """The host as yarl has it, path and query as they were written, but for what no request may hold.

    yarl undoes escapes that it takes to be spare, and URLs that are signed are signed with them.
    """
    path, query = (_ILLEGAL.sub(_escape, part) for part in (written.raw_path, written.raw_query_string))
    if "/." in path:
        path = _without_dots(path)
    return URL.build(scheme=url.scheme, authority=url.raw_authority, path=path or "/", query_string=query, encoded=True)


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    kept: list[str] = []
    *parts, last = path.split("/")[1:]
    for part in parts:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if last == "..":
        del kept[-1:]
    return "/" + "".join(f"{part}/" for part in kept) + ("" if last in (".", "..") else last)


def _vetted(url: URL, allow_hosts: frozenset[str]) -> URL:
    """The same, or with its host as it is asked for."""
    if url.raw_user is not None or url.raw_password is not None:
        raise FetchError(Reason.REFUSED_URL, "user or password in the URL")
    host = (url.raw_host or "").lower()
    if host.endswith("."):
        host = host[:-1]
        url = url.with_host(host) if _NAME.fullmatch(host) else url
    if len(str(url)) > 3 * MAX_URL:
        raise FetchError(Reason.INVALID_URL, "too long once it is escaped")
    literal = _literal(host)
    if allow_hosts and {host, f"{host}:{url.port}"} & allow_hosts:
        return url
    if url.port not in PORTS:
        raise FetchError(Reason.REFUSED_URL, f"port {url.port}; allowed are {', '.join(map(str, PORTS))}")
    if literal is not None and not is_public(host):
        raise FetchError(Reason.BLOCKED_ADDRESS, f"{host} is no global address")
    return url


def on_list(host: str, domains: frozenset[str]) -> str | None:
    """The host, or the domain above it, that is on a list of domains."""
    host = host.lower()
    while host:
        if host in domains:
            return host
        host = host.partition(".")[2]
    return None


def check_domain(url: URL, blocked: frozenset[str]) -> None:
    """Raises FetchError for a host on the blocklist."""
    if blocked and (listed := on_list(url.raw_host or "", blocked)):
        raise FetchError(Reason.BLOCKED_DOMAIN, f"{listed} is on the blocklist")


def _escaped_blanks(text: str) -> str:
    """Blanks inside paths are common in pages, and escaped as browsers do; what may change the host is refused."""
    scheme, mark, rest = text.partition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0] if mark else ""
    if _CONTROL.search(text) or _BAD.search(host) or (mark and _BAD.search(scheme)):
        raise FetchError(Reason.INVALID_URL, "control characters, backslashes, or blanks before the path")
    return text.replace(" ", "%20")


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, None for a name. `2130706433`, `0x7f.1` and `0177.0.0.1` are neither."""
    last = host.rpartition(".")[2]
    if ":" not in host and not (last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last)):
        if not _NAME.fullmatch(host):
            raise FetchError(Reason.INVALID_URL, f"host {host[:80]!r}")
        return None
    try:
        return ip_address(host)
    except ValueError:
        raise FetchError(Reason.INVALID_URL, f"host {host[:80]!r} is an address in disguise") from None


@functools.lru_cache(maxsize=65_536)
def is_public(address: str) -> bool:
    """True for a global unicast address that is not this machine's own."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if "%" in address:  # a zone, which makes it unequal to our own address that it is
        return False
    if not ip.is_global or ip.is_multicast or ip.is_reserved or ip in _own_addresses():
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in net for net in _BLOCKED_V4)
    embeds = int(ip) >> 32 & 0xFFFFFEFF == 0x00005EFE  # ISATAP: 0:5efe and an IPv4 address, or 200:5efe
    return ip in _GLOBAL_V6 and not embeds and not any(ip in net for net in _BLOCKED_V6)


@functools.cache
def _own_addresses() -> frozenset[IPv4Address | IPv6Address]:
    """Addresses of this machine's interfaces; a service that listens on them is as private as on loopback."""
    found = _of_name(socket.gethostname())
    trie, v6 = Path("/proc/net/fib_trie"), Path("/proc/net/if_inet6")
    if trie.exists():
        found |= set(re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", trie.read_text()))
    if v6.exists():
        found |= {str(IPv6Address(int(line.split()[0], 16))) for line in v6.read_text().splitlines()}
    return frozenset(ip_address(address.partition("%")[0]) for address in found)


def _of_name(host: str) -> set[str]:
    try:
        return {str(answer[4][0]) for answer in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()
