"""Random worlds: whatever a node could show, and some that it could not."""

from __future__ import annotations

from hypothesis import strategies as st

from zentoria_infra.firewall.config import Alias, Configuration, Datacenter, Entry, Group, Guest, IpSet, Nic, Node, Rule
from zentoria_infra.guest.state import GuestReport, ResourceReport
from zentoria_infra.plan.model.observed import GuestCheck, ObservedContainer, World

VMIDS = st.integers(400, 423)
WORDS = st.sampled_from(["", "a", "zt/row-1 x", "naïve ☃", "-x: 1", 'quo"te\\', "two\nlines"])
FREE = WORDS | st.sampled_from(["password: hunter2", "-token = hunter2", "see http://me:hunter2@db/"])
"""What others write."""
ADDRESSES = st.sampled_from(["10.10.40.5", "10.10.40.0/24", "+management", "dc/zt-db", ""])
OPTIONS = st.dictionaries(st.sampled_from(["enable", "policy_in", "dhcp"]), st.sampled_from(["0", "1", "DROP"]))
CONFIGS = st.builds(
    lambda plain, free: {**plain, **free},
    st.dictionaries(
        st.sampled_from(["memory", "cores", "net0", "mp0", "rootfs", "tags", "lock", "hostname"]),
        st.sampled_from(["", "512", "name=eth0,bridge=vmbr40", "local:404/disk,size=8G"]),
    ),
    st.dictionaries(
        st.sampled_from(["description", "lxc", "env"]),
        st.sampled_from(["", "zentoria-id: lab/404", "TOKEN=hunter2", "hunter2\n\nzentoria-id: lab/404"]),
    ),
)


containers = st.builds(
    ObservedContainer,
    vmid=VMIDS,
    node=st.sampled_from(["pve", "pve2"]),
    kind=st.sampled_from(["lxc", "qemu"]),
    status=st.sampled_from(["running", "stopped", "unknown"]),
    config=CONFIGS,
    pending=st.frozensets(st.sampled_from(["memory", "net0", "mp0"])),
    digest=st.sampled_from(["", "a" * 40, "b" * 40]),
)
resources = st.builds(
    ResourceReport,
    id=st.sampled_from(["file:/etc/x", "packages", "unit:nginx.service"]),
    outcome=st.sampled_from(["unchanged", "changed", "would-change", "failed", "skipped"]),
    detail=FREE,
    diff=WORDS | st.just("-token hunter2\n+x"),
    command=st.just("") | st.just("x --key hunter2"),
    output=st.just("") | st.just("hunter2"),
    before=FREE,
    after=WORDS,
    restarts=st.tuples(WORDS),
)
reports = st.builds(
    GuestReport,
    vmid=VMIDS,
    mode=st.just("check"),
    resources=st.tuples() | st.tuples(resources) | st.tuples(resources, resources),
    failed=WORDS,
    seconds=st.floats(0, 100),
)
checks = st.builds(GuestCheck, st.none() | reports, FREE)
rules = st.builds(
    Rule,
    st.sampled_from(["in", "out", "forward", "group"]),
    st.sampled_from(["ACCEPT", "DROP"]),
    enable=st.booleans(),
    source=ADDRESSES,
    dest=ADDRESSES,
    dport=st.sampled_from(["", "5432", "1:9"]),
    comment=WORDS,
)
aliases = st.builds(Alias, st.sampled_from(["zt-db", "mine"]), ADDRESSES, WORDS)
ipsets = st.builds(
    IpSet, st.sampled_from(["management", "x"]), st.tuples(st.builds(Entry, ADDRESSES, st.booleans(), WORDS)), WORDS
)
firewalls = st.builds(
    Configuration,
    st.builds(
        Datacenter, OPTIONS, st.tuples(aliases), st.tuples(ipsets),
        st.tuples() | st.tuples(st.builds(Group, WORDS, st.tuples(rules), WORDS)), st.tuples(rules),
    ),
    st.tuples(st.builds(Node, st.just("pve"), OPTIONS)),
    st.tuples()
    | st.tuples(
        st.builds(
            Guest, VMIDS, st.just("db"), st.just("pve"),
            st.tuples(st.builds(Nic, st.just("net0"), st.just("vmbr40"), st.booleans())),
            OPTIONS, st.tuples(aliases), st.tuples(ipsets), st.tuples(rules, rules),
        )
    ),
)  # fmt: skip


def _world(found: list[ObservedContainer], guests: dict[int, GuestCheck], **more: object) -> World:
    return World({one.vmid: one for one in found}, guests=guests, **more)


worlds = st.builds(
    _world,
    st.lists(containers, max_size=4),
    st.dictionaries(VMIDS, checks, max_size=3),
    taken=st.frozensets(VMIDS),
    problems=st.tuples() | st.tuples(WORDS),
    no_inside=WORDS,
    firewall=st.none() | firewalls,
    firewall_digests=st.dictionaries(st.sampled_from(["404/rules", "datacenter/options"]), st.just("c" * 40)),
)
