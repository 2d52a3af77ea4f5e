"""Services as sets on one line of integers: protocol x 65536 + port, or of ICMP type x 256 + code.

What a rule matches is known from above and from below: ``upper`` holds every service of which it may match a packet,
``lower`` those of which it matches every packet. The two differ where a rule asks for source ports (which the line
does not have) or uses a name that only the node can resolve. A proof that takes ``upper`` for what is accepted and
``lower`` for what is denied never finds too little allowed; the other way round never too much.
"""

from __future__ import annotations

import dataclasses
import functools
import re

from zentoria_infra.firewall.config import Rule
from zentoria_infra.firewall.sets.macros import MACROS
from zentoria_infra.firewall.sets.protocols import (
    ICMP,
    ICMP_TYPES,
    ICMPV6,
    ICMPV6_TYPES,
    PORTS,
    PROTOCOLS,
    TCP,
    UDP,
    WITH_PORTS,
    Type,
)
from zentoria_infra.inventory.spans import NOTHING, Spans, difference, normal, union

SIZE = 65536
"""Services of one protocol."""
LAST = 256 * SIZE - 1
ANY: Spans = ((0, LAST),)
PORTS_MOST = 15
"""Numbers in a list of ports; a range counts as two."""

_DHCP = {(68, 67), (67, 68), (546, 547), (547, 546)}
"""Source and destination port of DHCP: no client uses others, so the source port narrows nothing."""
_NAMES = {number: name for name, number in PROTOCOLS.items()} | {ICMPV6: "icmpv6"}
_ICMP_WORDS = {
    ICMP: {number: name for name, number in ICMP_TYPES.items()},
    ICMPV6: {number: name for name, number in ICMPV6_TYPES.items()},
}
_NUMBERS = re.compile(r"[0-9]+(?::[0-9]+)?")
_SERVICE = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9.+-]*")
_TYPE = re.compile(r"([0-9]+)(?:/([0-9]+))?")


class InvalidRuleError(ValueError):
    """Proxmox finds a mistake in a rule, and leaves the rule out. The text goes after "the rule"."""


@dataclasses.dataclass(frozen=True, slots=True)
class Services:
    """What a rule matches of IPv4 and of IPv6.

    Args:
        upper: every service of IPv4 of which some packet may match.
        lower: those of which every packet matches.
        upper6: likewise for IPv6.
        lower6: likewise for IPv6.
    """

    upper: Spans
    lower: Spans
    upper6: Spans
    lower6: Spans

    def __or__(self, other: Services) -> Services:
        return Services(
            union(self.upper, other.upper),
            union(self.lower, other.lower),
            union(self.upper6, other.upper6),
            union(self.lower6, other.lower6),
        )


EVERY = Services(ANY, ANY, ANY, ANY)
_UNCLEAR = Services(ANY, NOTHING, ANY, NOTHING)


def span(protocol: int, first: int = 0, last: int = SIZE - 1) -> tuple[int, int]:
    """Ports (of ICMP types and codes) of a protocol as an interval of the line."""
    return protocol * SIZE + first, protocol * SIZE + last


def port_services(protocol: str, ports: tuple[tuple[int, int], ...]) -> Spans:
    """Destination ports of ``tcp`` or ``udp`` as a set."""
    return normal(span(PROTOCOLS[protocol], first, last) for first, last in ports)


def rule_services(rule: Rule) -> Services:
    """What a rule matches, by its protocol, ports, ICMP type and macro.

    Raises:
        InvalidRuleError: Proxmox leaves the rule out.
    """
    found = _parsed(rule.proto, rule.dport, rule.sport, rule.icmp_type, rule.macro)
    if isinstance(found, str):
        raise InvalidRuleError(found)
    return found


@functools.lru_cache(maxsize=8192)
def _parsed(proto: str, dport: str, sport: str, icmp_type: str, macro: str) -> Services | str:
    """The services, or what is wrong: an exception that is cached would grow with every traceback."""
    try:
        if macro:
            return _macro(macro, proto, dport, sport, icmp_type)
        return _plain(proto, dport, sport, icmp_type)
    except InvalidRuleError as error:
        return str(error)


def _macro(macro: str, *fields: str) -> Services:
    parts = MACROS.get(macro.lower())
    if parts is None or any(fields):
        # A macro that is not known here, or one that other fields change: it may match anything.
        return _UNCLEAR
    found = Services(NOTHING, NOTHING, NOTHING, NOTHING)
    for proto, dport, sport in parts:
        found |= _plain(proto, dport, sport, "")
        if proto == "icmp":
            found |= _plain("icmpv6", dport, sport, "")
    return found


def _plain(proto: str, dport: str, sport: str, icmp_type: str) -> Services:
    if not proto:
        if dport or sport:
            raise InvalidRuleError("has ports and no protocol")
        if icmp_type:
            raise InvalidRuleError("has an ICMP type and no protocol")
        return EVERY
    if proto == "all":
        if dport or sport or icmp_type:
            raise InvalidRuleError("has ports, and its protocol 'all' has none")
        return EVERY
    if proto in ("icmp", "icmpv6", "ipv6-icmp"):
        if sport:
            raise InvalidRuleError(f"has source ports, and its protocol '{proto}' has none")
        return _icmp(ICMP if proto == "icmp" else ICMPV6, icmp_type or dport)
    number = int(proto) if proto.isdigit() else PROTOCOLS.get(proto)
    if number is None:
        return _UNCLEAR
    if number > 255:
        raise InvalidRuleError(f"has the protocol '{proto}', which does not exist")
    whole = (span(number),)
    if number in (ICMP, ICMPV6) and (dport or icmp_type):
        return Services(whole, NOTHING, whole, NOTHING)
    if icmp_type:
        raise InvalidRuleError(f"has an ICMP type, and its protocol is '{proto}'")
    if not dport and not sport:
        return Services(whole, whole, whole, whole)
    if number not in WITH_PORTS:
        raise InvalidRuleError(f"has ports, and its protocol '{proto}' has none")
    return _ports(number, dport, sport)


def _ports(number: int, dport: str, sport: str) -> Services:
    any_port = ((0, SIZE - 1),)
    upper, lower = _port_list(dport) if dport else (any_port, any_port)
    sources = _port_list(sport)[1] if sport else any_port
    narrows = sources != any_port and not _is_dhcp(number, sources, upper)
    above = tuple(span(number, *one) for one in upper)
    below = NOTHING if narrows else tuple(span(number, *one) for one in lower)
    return Services(above, below, above, below)


def _is_dhcp(number: int, sources: Spans, ports: Spans) -> bool:
    return number == UDP and any(sources == ((a, a),) and ports == ((b, b),) for a, b in _DHCP)


def _port_list(text: str) -> tuple[Spans, Spans]:
    """Ports that a list may and must hold; they differ by names of services that are not known here."""
    found: list[tuple[int, int]] = []
    unclear = False
    weight = 0
    for part in text.split(","):
        first, colon, last = part.partition(":")
        weight += 2 if colon else 1
        if _NUMBERS.fullmatch(part):
            low, high = int(first), int(last or first)
            if high > SIZE - 1 or low > SIZE - 1:
                raise InvalidRuleError(f"has the port '{part}', which is above {SIZE - 1}")
            if low > high:
                raise InvalidRuleError(f"has the port range '{part}', which is backwards")
            found.append((low, high))
        elif not part or colon or not _SERVICE.fullmatch(part):
            raise InvalidRuleError(f"has the port '{part}', which is none")
        elif part in PORTS:
            found.append((PORTS[part], PORTS[part]))
        else:
            unclear = True
    if weight > PORTS_MOST:
        raise InvalidRuleError(f"has more than {PORTS_MOST} numbers in its list of ports")
    known = normal(found)
    return ((0, SIZE - 1),) if unclear else known, known


def _icmp(number: int, text: str) -> Services:
    known = _icmp_types(number, text)
    lower = NOTHING if known is None else known
    upper = (span(number),) if known is None else known
    return Services(upper, lower, NOTHING, NOTHING) if number == ICMP else Services(NOTHING, NOTHING, upper, lower)


def _icmp_types(number: int, text: str) -> Spans | None:
    """None when it is a name that is not known here."""
    if text in ("", "any"):
        return (span(number),)
    if match := _TYPE.fullmatch(text):
        kind, code = int(match[1]), int(match[2]) if match[2] else None
        if kind > 255 or (code or 0) > 255:
            raise InvalidRuleError(f"has the ICMP type '{text}', which does not exist")
        return (icmp_span(number, (kind, code)),)
    named = (ICMP_TYPES if number == ICMP else ICMPV6_TYPES).get(text)
    if named is not None:
        return (icmp_span(number, named),)
    if re.fullmatch(r"[A-Za-z][A-Za-z-]*", text):
        return None
    raise InvalidRuleError(f"has the ICMP type '{text}', which is none")


def icmp_span(number: int, kind: Type) -> tuple[int, int]:
    """One ICMP type, with one code or all."""
    if kind[1] is None:
        return span(number, kind[0] * 256, kind[0] * 256 + 255)
    return span(number, kind[0] * 256 + kind[1], kind[0] * 256 + kind[1])


def point(protocol: str, port: int | None = None) -> int:
    """One service: a port, or of ICMP a type (default: echo request).

    Raises:
        ValueError: there is no such protocol, or no such port.
    """
    number = int(protocol) if protocol.isdigit() else PROTOCOLS.get(protocol.lower(), 256)
    if number > 255:
        raise ValueError(f"no protocol '{protocol}'")
    if number in (ICMP, ICMPV6):
        kind = (8 if number == ICMP else 128) if port is None else port
        if not 0 <= kind <= 255:
            raise ValueError(f"no ICMP type {kind}")
        return span(number, kind * 256)[0]
    if number in WITH_PORTS and port is None:
        raise ValueError(f"{protocol} needs a port")
    if not 0 <= (port or 0) < SIZE:
        raise ValueError(f"no port {port}")
    return span(number, port or 0)[0]


def text(services: Spans) -> str:
    """Services in words: ``tcp/5432``, ``tcp/9300-9301``, ``icmp``, ``any``, ``any but tcp/22``."""
    if not services:
        return "nothing"
    if services == ANY:
        return "any"
    left = difference(ANY, services)
    if services[0][0] < TCP * SIZE and services[-1][1] == LAST and len(left) <= 8:
        return f"any but {text(left)}"
    return ", ".join(part for first, last in services for part in _words(first, last))


def _words(first: int, last: int) -> list[str]:
    """One interval of the line, cut where a protocol begins or ends inside it."""
    low, high = first // SIZE, last // SIZE
    if low == high:
        return [_word(low, first % SIZE, last % SIZE)]
    words: list[str] = []
    if first % SIZE:
        words.append(_word(low, first % SIZE, SIZE - 1))
        low += 1
    tail = _word(high, 0, last % SIZE) if last % SIZE != SIZE - 1 else ""
    if tail:
        high -= 1
    if low == high:
        words.append(_NAMES.get(low, f"protocol {low}"))
    elif low < high:
        words.append(f"protocols {low}-{high}")
    return [*words, tail] if tail else words


def _word(number: int, first: int, last: int) -> str:
    name = _NAMES.get(number, f"protocol {number}")
    if (first, last) == (0, SIZE - 1):
        return name
    if number in _ICMP_WORDS:
        kind, code = divmod(first, 256)
        if (first, last) == (kind * 256, kind * 256 + 255):
            return f"{name}/{_ICMP_WORDS[number].get((kind, None), kind)}"
        if first == last:
            return f"{name}/{_ICMP_WORDS[number].get((kind, code), f'{kind}.{code}')}"
        return f"{name}/{kind}.{code}-{last // 256}.{last % 256}"
    return f"{name}/{first}" if first == last else f"{name}/{first}-{last}"
