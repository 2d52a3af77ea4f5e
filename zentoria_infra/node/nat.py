"""What ``zentoria bootstrap`` runs on a node, as root, about NAT for guests that have only the internal network.

The program comes by standard input (``python3 -IS -``), with an order as JSON at its end, and answers with one JSON
object: what is missing, and with ``do: install`` or ``do: remove`` what it changed.

A guest's packets pass a bridge of its own first (``fwbr...``), and there the node's POSTROUTING sees them for the
first time. A connection gets its NAT once, so it must not be there: hence a rule for the outgoing device only, and
connections on these bridges in a zone of their own (pve-network.adoc, "Masquerading (NAT) with iptables"). Any other
way, with ``firewall=1``, nothing comes back.

The rules live as ``post-up`` lines of the internal bridge in ``/etc/network/interfaces``, which Proxmox keeps when it
writes that file. Ours carry the site in a comment. ifupdown2 runs such lines at every reload: so each looks first.
"""

from __future__ import annotations

import glob
import ipaddress
import json
import os
import re
import shlex
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_FORWARDS = re.compile(r"echo\s+1\s*>\s*/proc/sys/net/ipv4/ip_forward|net[./]ipv4[./]ip_forward\s*=\s*1\b")
_SITES = re.compile(r"(?: -m comment --comment |post-up : )(zentoria:[a-z0-9][a-z0-9-]*)(?= -j |;)")
"""Marks lines of a site, in the two places where ours have it. Elsewhere the word is somebody's own."""
_GUEST = "fwbr100i0"
"""A guest's own bridge, as Proxmox names it."""
_HEADS = re.compile(r"(iface|auto|allow-\S+|mapping|source|source-directory|no-auto-down|no-scripts|rename|template)\b")
_HARMLESS = {"--random", "--random-fully", "-w", "--wait"}
_WITH_VALUE = {"--comment", "--to-source", "--to-ports"}


class NatError(Exception):
    """It cannot be done, in words for a person."""


class Rule:
    """One rule of iptables, as far as it matters here.

    Args:
        words: as on its command line, or as ``iptables -S`` lists it.
        table: which it is of, unless the words say so.
    """

    def __init__(self, words: Sequence[str], table: str = "filter") -> None:
        self.table, self.verb, self.chain, self.jump, self.zone = table, "", "", "", ""
        self.source = self.out = self.into = ""
        self.out_negated = self.narrow = False
        left, negated = list(words), False
        while left:
            word = left.pop(0)
            if word == "!":
                negated = True
                continue
            value = left.pop(0) if left and word not in _HARMLESS else ""
            if word in ("-t", "--table"):
                self.table = value
            elif word in ("-A", "-I", "-C", "-D"):
                self.verb, self.chain = word, value
                if word == "-I" and left and left[0].isdigit():
                    left.pop(0)
            elif word in ("-j", "--jump"):
                self.jump = value
            elif word == "--zone":
                self.zone = value
            elif word in ("-s", "--source"):
                self.source = value
                self.narrow = self.narrow or negated
            elif word in ("-o", "--out-interface"):
                self.out, self.out_negated = value, negated
            elif word in ("-i", "--in-interface"):
                self.into = value
                self.narrow = self.narrow or negated
            elif word in ("-d", "--destination"):
                self.narrow = self.narrow or not negated
            elif word not in _WITH_VALUE and word not in _HARMLESS and (word, value) != ("-m", "comment"):
                self.narrow = True  # something else is asked of a packet
            negated = False

    def masquerades(self, network: str, out: str) -> bool:
        """Whether all that leaves by a device gets the node's address, and on guests' own bridges nothing does."""
        return self._translates(network) and bool(self.out) and self._leaves(out) and not self._leaves(_GUEST)

    def spoils(self, network: str) -> bool:
        """Whether it translates on guests' own bridges, where it must not be."""
        return self._translates(network) and self._leaves(_GUEST)

    def zones(self) -> bool:
        """Whether it gives connections on guests' own bridges a zone of their own."""
        place = (self.table, self.chain, self.jump) == ("raw", "PREROUTING", "CT")
        plain = not (self.narrow or self.source or self.out)
        return place and plain and self.zone not in ("", "0") and bool(self.into) and _covers(self.into, _GUEST)

    def _translates(self, network: str) -> bool:
        if (self.table, self.chain) != ("nat", "POSTROUTING") or self.narrow or self.jump not in ("MASQUERADE", "SNAT"):
            return False
        try:
            return not self.source or _network(network).subnet_of(_network(self.source))
        except ValueError:
            return False

    def _leaves(self, device: str) -> bool:
        return (not self.out or _covers(self.out, device)) != self.out_negated


def _network(text: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(text, strict=False)


def _covers(pattern: str, device: str) -> bool:
    """Whether a device's name is meant: ``fwbr+`` means all that begin so."""
    return device.startswith(pattern[:-1]) if pattern.endswith("+") else device == pattern


class Item:
    """One of the things that it takes.

    Args:
        says: what is missing without it.
        rule: table, how it is added, and the chain; None for the switch.
        match: the rule's further words.
    """

    def __init__(self, says: str, rule: tuple[str, str, str] | None, match: str = "") -> None:
        self.says, self.rule, self.match = says, rule, match

    def there(self, rules: Iterable[Rule], forwards: bool, network: str, out: str) -> bool:
        """Whether rules or the switch do it."""
        if self.rule is None:
            return forwards
        if self.rule[0] == "raw":
            return any(rule.zones() for rule in rules)
        return any(rule.masquerades(network, out) for rule in rules)

    def up(self, tag: str = "") -> str:
        """The command that has it in force; a second time it changes nothing."""
        if self.rule is None:
            mark = f": {tag}; " if tag else ""
            return f"{mark}echo 1 > {_FORWARD}"
        table, verb, chain = self.rule
        match = self._match(tag)
        return f"iptables -t {table} -C {chain} {match} 2>/dev/null || iptables -t {table} {verb} {chain} {match}"

    def lines(self, tag: str) -> list[str]:
        """Its lines of ``interfaces``."""
        found = [f"post-up {self.up(tag)}"]
        if self.rule is not None:
            found.append(f"post-down iptables -t {self.rule[0]} -D {self.rule[2]} {self._match(tag)}")
        return found

    def _match(self, tag: str) -> str:
        head, target = self.match.split(" -j ")
        return f"{head} -m comment --comment {tag} -j {target}" if tag else self.match


class Files:
    """What the node's files say.

    Args:
        etc: the folder ``/etc``; another in tests.
        tag: marks our own lines.
    """

    def __init__(self, etc: str, tag: str) -> None:
        self.path, self._etc, self._tag = os.path.join(etc, "network/interfaces"), etc, tag
        self.text = _read(self.path)

    @property
    def own(self) -> list[str]:
        """Our own lines."""
        return [line.strip() for line in self.text.split("\n") if self._is_own(line)]

    @property
    def rest(self) -> str:
        """All but our own lines."""
        return "\n".join(line for line in self.text.split("\n") if not self._is_own(line))

    @property
    def other_sites(self) -> list[str]:
        """Lines of other sites of Zentoria, each of which goes with its site."""
        return [line.strip() for line in self.rest.split("\n") if self._sites(line)]

    def _is_own(self, line: str) -> bool:
        return self._tag in self._sites(line)

    @staticmethod
    def _sites(line: str) -> list[str]:
        return _SITES.findall(line) if line.split()[:1] in (["post-up"], ["post-down"]) else []

    def kept(self) -> tuple[list[Rule], bool]:
        """Rules that somebody else's lines have at every start, and whether one of them turns forwarding on."""
        others = "\n".join(line for line in self.rest.split("\n") if not self._sites(line))
        sources = [others, *map(_read, sorted(glob.glob(os.path.join(self._etc, "network/interfaces.d/*"))))]
        commands = [command for text in sources for command in _commands(text)]
        rules = [Rule(words[1:]) for words in commands if os.path.basename(words[0]).startswith("iptables")]
        rules = [rule for rule in rules if rule.verb in ("-A", "-I")]
        rules += _saved(_read(os.path.join(self._etc, "iptables/rules.v4")))
        settings = [os.path.join(self._etc, "sysctl.conf"), *glob.glob(os.path.join(self._etc, "sysctl.d/*.conf"))]
        lines = [line for text in (*map(_read, settings), *sources) for line in text.splitlines()]
        return rules, any(_FORWARDS.search(line) for line in lines if not line.lstrip().startswith(("#", ";")))

    def with_lines(self, bridge: str, lines: Sequence[str]) -> str | None:
        """The file with these lines of ours and no others; None when it does not describe the bridge."""
        kept = self.rest.split("\n")
        if not lines:
            return self.rest
        heads = [at for at, line in enumerate(kept) if line.split()[:2] == ["iface", bridge]]
        heads.sort(key=lambda at: kept[at].split()[2:3] not in (["inet"], []))
        if not heads:
            return None
        end = last = heads[0] + 1
        while end < len(kept) and not _HEADS.match(kept[end].strip()):
            end += 1
            if kept[end - 1].strip() and not kept[end - 1].lstrip().startswith("#"):
                last = end
        kept[last:last] = [f"\t{line}" for line in lines]
        return "\n".join(kept if not kept[-1] else [*kept, ""])

    def write(self, text: str) -> None:
        """Put the file in place; the old or the new is there, never a part."""
        found = os.stat(self.path)
        new = f"{self.path}.tmp.{os.getpid()}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, found.st_mode & 0o777)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))  # whatever others wrote stays, byte by byte
            stream.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, found.st_mode & 0o7777)
        os.replace(new, self.path)
        self.text = text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return stream.read()
    except (FileNotFoundError, IsADirectoryError):
        return ""


def _commands(text: str) -> Iterator[list[str]]:
    """Commands that run when an interface comes up."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        word, command = [*line.split(None, 1), "", ""][:2]
        if word not in ("up", "post-up", "pre-up"):
            continue
        for part in re.split(r"\|\||&&|;", command):
            try:
                words = shlex.split(part)
            except ValueError:
                continue
            if words:
                yield words


def _saved(text: str) -> list[Rule]:
    """Rules as ``iptables-save`` writes them."""
    table, found = "filter", []
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            found.append(Rule(shlex.split(line), table))
    return found


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise NatError(f"'{' '.join(argv)}' ended with code {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _shell(command: str) -> None:
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise NatError(f"'{command}' ended with code {done.returncode}: {done.stderr.strip()}")


def _live() -> tuple[list[Rule], bool]:
    """Rules that are in force, and whether the node forwards."""
    found = []
    for table, chain in (("nat", "POSTROUTING"), ("raw", "PREROUTING")):
        for line in _run("iptables", "-t", table, "-S", chain).splitlines():
            words = shlex.split(line)
            if words[:1] == ["-A"]:
                found.append(Rule(words, table))
    return found, _read(_FORWARD).strip() == "1"


def _devices(networks: Sequence[Mapping[str, str]]) -> tuple[list[str], str, str]:
    """Networks whose gateway this node is, the bridge with that address, and the device of the default route."""
    addresses = {
        address.get("local", ""): device.get("ifname", "")
        for device in json.loads(_run("ip", "-json", "-4", "address", "show") or "[]")
        for address in device.get("addr_info", [])
    }
    here = [one["cidr"] for one in networks if one["gateway"] in addresses]
    bridge = next((addresses[one["gateway"]] for one in networks if one["gateway"] in addresses), "")
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "default") or "[]")
    routes.sort(key=lambda route: route.get("metric", 0))
    return here, bridge, next((route["dev"] for route in routes if route.get("dev")), "")


def _items(networks: Sequence[str], out: str) -> list[tuple[Item, str]]:
    """What it takes, each with the network that it is for."""
    first = networks[0] if networks else ""
    zone = "connections on the guests' own bridges have no zone of their own (iptables -t raw ... -i fwbr+ -j CT)"
    return [
        (Item("the node forwards no packets (net.ipv4.ip_forward)", None), first),
        *(
            (
                Item(
                    f"nothing masquerades {cidr} on its way out by {out} (iptables -t nat ... -o {out} -j MASQUERADE)",
                    ("nat", "-A", "POSTROUTING"),
                    f"-s {cidr} -o {out} -j MASQUERADE",
                ),
                cidr,
            )
            for cidr in networks
        ),
        (Item(zone, ("raw", "-I", "PREROUTING"), "-i fwbr+ -j CT --zone 1"), first),
    ]


def carry_out(order: Mapping[str, Any]) -> dict[str, Any]:
    """Look, install or remove; tells what is missing, what was changed and what is in the way.

    Raises:
        NatError: it cannot be done.
    """
    verb, tag = order["do"], f"zentoria:{order['site']}"
    files = Files(order["etc"], tag)
    answer: dict[str, Any] = {"bridge": "", "out": "", "missing": [], "lines": [], "spoils": [], "changed": []}
    if verb == "remove":
        _put(files, "", [], answer, dry=bool(order["dry"]))
        return answer
    here, bridge, out = _devices(order["networks"])
    answer.update(bridge=bridge, out=out)
    if not here or out == bridge:
        return answer  # another machine is the gateway, or the way out is the guests' own network
    if not out:
        raise NatError("the node has no default route, so there is no way out for guests")
    kept, live = files.kept(), _live()
    own = files.own
    wanted = []
    for item, cidr in _items(here, out):
        later = item.there(*kept, cidr, out)
        lines = [] if later else item.lines(tag)
        wanted += lines
        now = item.there(*live, cidr, out)
        if now and (later or set(lines) <= set(own)):
            continue
        answer["missing"].append(item.says + ("" if not now else ", after the next start"))
    answer["lines"] = wanted
    answer["spoils"] = _spoilers(here)
    if verb == "install":
        _put(files, bridge, wanted, answer, dry=bool(order["dry"]))
        if not order["dry"]:
            for item, cidr in _items(here, out):
                if not item.there(*live, cidr, out):
                    _shell(item.up(tag if set(item.lines(tag)) <= set(wanted) else ""))
                    answer["changed"].append(f"in force: {item.up()}")
            after = _live()
            answer["missing"] = [item.says for item, cidr in _items(here, out) if not item.there(*after, cidr, out)]
    return answer


def _spoilers(networks: Sequence[str]) -> list[str]:
    """Commands that take away what spoils it, in force."""
    lines = _run("iptables", "-t", "nat", "-S", "POSTROUTING").splitlines()
    found = [line for line in lines if any(Rule(shlex.split(line), "nat").spoils(cidr) for cidr in networks)]
    return [f"iptables -t nat -D {line.removeprefix('-A ')}" for line in found]


def _put(files: Files, bridge: str, wanted: Sequence[str], answer: dict[str, Any], *, dry: bool) -> None:
    """Have these lines of ours in the file, and what they no longer say out of force."""
    own = files.own
    if list(wanted) == own:
        return
    text = files.with_lines(bridge, wanted)
    if text is None:
        raise NatError(f"{files.path} does not describe {bridge}: put the lines where it is described")
    if os.path.exists(f"{files.path}.new"):
        raise NatError(f"changes wait in {files.path}.new: apply them or take them back in Proxmox, then run again")
    answer["changed"] += [line for line in wanted if line not in own]
    answer["changed"] += [f"{'no more: ' if wanted else ''}{line}" for line in own if line not in wanted]
    if dry:
        return
    files.write(text)
    for line in own:
        word, _, command = line.partition(" ")
        if word == "post-down" and line not in wanted:
            _shell(f"{command} 2>/dev/null || true")
    for line in files.other_sites:  # each site has its own lines; in force, one rule was enough for all
        word, _, command = line.partition(" ")
        if word == "post-up":
            _shell(command)


def main(text: str) -> int:
    """Carry out what the JSON text says, and answer on standard output."""
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["LC_ALL"] = "C"
    try:
        answer = carry_out(json.loads(text))
    except NatError as error:
        answer = {"error": str(error)}
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__" and len(sys.argv) > 1:  # by standard input there are no arguments: the caller adds the call
    sys.exit(main(sys.argv[1]))
