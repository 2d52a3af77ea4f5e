"""Looks from inside a guest whether TCP targets can be reached: package sources, before and after a deploy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zentoria_infra.errors import GuestError
from zentoria_infra.proxmox.client import Proxmox

Target = tuple[str, int]
"""Host name or address, and port."""

# A fresh template may lack Python, and this is asked before it is installed: bash and timeout are essential in Debian.
# A refused connection has reached the host, so no packet filter of ours (they drop) is in its way.
_SCRIPT = """
export LC_ALL=C
seconds=$1; shift
while [ $# -ge 2 ]; do
  (
    said=$(timeout "$seconds" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1 </dev/null)
    case $?:$said in
      0:* | *'Connection refused'*) echo "open $1 $2" ;;
      *) echo "closed $1 $2" ;;
    esac
  ) &
  shift 2
done
wait
"""

_SLACK = 15.0
"""Seconds that the container may take besides: it is busy itself while packages are installed."""


def is_open(proxmox: Proxmox, vmid: int, targets: Sequence[Target], seconds: float = 2.0) -> Mapping[Target, bool]:
    """Which targets take a TCP connection that is begun inside a guest; all at once, in one round trip.

    Refused counts as open: the packet came through. A name that cannot be resolved counts as closed.

    Args:
        proxmox: the node; it needs SSH.
        vmid: the guest. The caller knows that it is ours.
        targets: what to try.
        seconds: how long to wait for each. A dropped packet is sent again after one second and after three.

    Raises:
        GuestError: the guest could not tell, as when it is not running.
        UnreachableError: the node could not be reached over SSH.
    """
    wanted = list(dict.fromkeys(targets))
    if not wanted:
        return {}
    words = [word for host, port in wanted for word in (host, str(port))]
    argv = ["bash", "-c", _SCRIPT, "egress-probe", f"{seconds:.3f}", *words]
    result = proxmox.pct.exec(vmid, argv, timeout=seconds + _SLACK, tried=_tried(vmid, wanted))
    found: dict[Target, bool] = {}
    for line in result.stdout.decode(errors="replace").splitlines():
        match line.split():
            case ["open" | "closed" as state, host, port] if port.isdigit():
                found[host, int(port)] = state == "open"
    if set(found) != set(wanted):
        said = (result.stderr or result.stdout).decode(errors="replace").strip()[-500:]
        raise GuestError(
            _tried(vmid, wanted),
            got=f"exit code {result.exit}, {len(found)} of {len(wanted)} answers" + (f": {said}" if said else ""),
            todo=f"see whether the container runs and has bash: `zentoria status`, `pct exec {vmid} -- bash --version`",
        )
    return found


def _tried(vmid: int, targets: Sequence[Target]) -> str:
    names = ", ".join(f"{host}:{port}" for host, port in targets[:3])
    more = f" and {len(targets) - 3} more" if len(targets) > 3 else ""
    return f"see whether container {vmid} can reach {names}{more}"
