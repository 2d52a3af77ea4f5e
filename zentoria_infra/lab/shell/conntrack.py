"""``conntrack`` behind the lab's sshd: listing and cutting the lab's own connections, and nothing else.

On a real node it is one of root's programs. Here it works on the lab's network namespace alone.
"""

from __future__ import annotations

import ipaddress
import re

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing is not imported for real: it takes longer than all the rest
    from collections.abc import Callable, Sequence

_ACTIONS = {"-D": "deleted", "--delete": "deleted", "-L": "shown", "--dump": "shown"}
_ADDRESSES = ("-s", "--src", "--orig-src", "-d", "--dst", "--orig-dst", "-r", "--reply-src", "-q", "--reply-dst")
_PORTS = ("--sport", "--orig-port-src", "--dport", "--orig-port-dst", "--reply-port-src", "--reply-port-dst")
_WORDS = {
    "-p": r"[a-z][a-z0-9-]{0,19}|[0-9]{1,3}",
    "--proto": r"[a-z][a-z0-9-]{0,19}|[0-9]{1,3}",
    "-f": "ipv4|ipv6",
    "--family": "ipv4|ipv6",
    "--state": "[A-Z_]{1,20}",
    "-o": "extended|id|timestamp",
    "--output": "extended|id|timestamp",
}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", text)) and int(text) <= 65535


def checked(words: Sequence[str]) -> list[str]:
    """The program's arguments, as they were given.

    Raises:
        ValueError: they are none of those that list or cut connections; the text says which.
    """
    if not words or words[0] not in _ACTIONS:
        raise ValueError("it takes -D or -L first")
    rest = list(words[1:])
    if rest[:1] == ["conntrack"]:  # the table's name
        rest = rest[1:]
    if len(rest) % 2:
        raise ValueError(f"'{rest[-1][:60]}' is without a value")
    for option, value in zip(rest[::2], rest[1::2], strict=True):
        check: Callable[[str], object]
        if option in _ADDRESSES:
            check = _is_address
        elif option in _PORTS:
            check = _is_port
        elif option in _WORDS:
            check = re.compile(_WORDS[option]).fullmatch
        else:
            raise ValueError(f"there is no option '{option[:60]}' here")
        if not check(value):
            raise ValueError(f"'{value[:60]}' does not fit {option}")
    return list(words)


def nothing(words: Sequence[str]) -> tuple[str, int]:
    """What the program says, and its exit code, where there are no connections: in a lab without guests."""
    done = _ACTIONS[words[0]]
    return f"conntrack v1.4.7 (conntrack-tools): 0 flow entries have been {done}.", int(done == "deleted")
