"""Commands about the lab, a Proxmox-compatible node on this machine."""

from __future__ import annotations

import enum
from typing import Annotated

import rich.console
import rich.table
import typer

from zentoria_infra.cli import output, prepared_template
from zentoria_infra.cli.context import JsonOption, YesOption
from zentoria_infra.errors import ExitCode
from zentoria_infra.lab import control, health, releases, site_overlay
from zentoria_infra.lab.control import Wanted
from zentoria_infra.lab.registry import DEFAULT, Lab

lab_app = typer.Typer(
    name="lab", help="A Proxmox-compatible node on this machine, with real LXC guests.", no_args_is_help=True
)

NameOption = Annotated[
    str, typer.Option("--name", "-n", metavar="NAME", help="Which lab; several can be up at a time.")
]


class GuestsChoice(enum.StrEnum):
    """What is inside the lab's containers."""

    AUTO = "auto"
    LXC = "lxc"
    NONE = "none"


class PortsChoice(enum.StrEnum):
    """How ports that are not given are chosen."""

    DEFAULT = "default"
    AUTO = "auto"


class PveChoice(enum.StrEnum):
    """Which Proxmox VE the lab is: all of ``releases.NAMES``."""

    V8_4 = "8.4"
    V9_0 = "9.0"
    V9_1 = "9.1"
    V9_2 = "9.2"


def _port(name: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(f"--{name}-port", min=1, max=65535, metavar="PORT", help=text)
    return option


@lab_app.command()
def up(
    context: typer.Context,
    name: NameOption = DEFAULT,
    guests: Annotated[
        GuestsChoice, typer.Option(help="lxc: real containers; none: the API alone; auto: lxc where it can be.")
    ] = GuestsChoice.AUTO,
    ports: Annotated[
        PortsChoice, typer.Option(help="auto takes free ports for those that are not given.")
    ] = PortsChoice.DEFAULT,
    api_port: Annotated[int | None, _port("api", "The API's port on 127.0.0.1 (8006).")] = None,
    ssh_port: Annotated[int | None, _port("ssh", "sshd's port (2222).")] = None,
    https_port: Annotated[int | None, _port("https", "Leads to the proxy container's 443 (8443).")] = None,
    http_port: Annotated[int | None, _port("http", "Leads to the proxy container's 80 (8080).")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST[:PORT]", help="A host that guests may reach besides this machine's package sources."
        ),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option(
            "--strict-node/--open-node",
            help="Whether the node's own firewall stands before its proxy and name server too, as on Proxmox: then "
            "guests reach them only by rules of the node or the datacenter (default for a new lab: it does).",
        ),
    ] = None,
    firewall_cycle: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=60,
            metavar="SECONDS",
            help="How often its firewall takes up what was written (10, as Proxmox's).",
        ),
    ] = None,
    pve: Annotated[
        PveChoice | None, typer.Option(help=f"Which release of Proxmox VE it is (a new lab: {releases.NEWEST}).")
    ] = None,
    pristine: Annotated[
        bool,
        typer.Option(
            "--pristine",
            help="Without the site's prepared template: containers begin with Debian's own packages alone.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the lab. A second time changes nothing."""
    wanted = Wanted(
        guests=guests.value, auto_ports=ports is PortsChoice.AUTO, api=api_port, ssh=ssh_port, https=https_port,
        http=http_port, allow=tuple(allow or ()), strict=strict, firewall_cycle=firewall_cycle,
        pve=pve.value if pve else None,
    )  # fmt: skip
    outcome = control.up(name, wanted, output.note)
    lab = outcome.lab
    for note in outcome.notes:
        output.note(note)
    if outcome.began and not pristine:
        prepared_template.give(context, lab)
    if as_json:
        output.document({**_data(lab), "began": outcome.began, "notes": list(outcome.notes)})
    else:
        was = "is up" if outcome.began else "was up already"
        output.lines([f"Lab '{lab.name}' {was}: {_title(lab)}"])


def _title(lab: Lab) -> str:
    inside = (
        f", proxy container at https://127.0.0.1:{lab.ports.https}" if lab.guests == "lxc" else ", no guests inside"
    )
    return f"Proxmox VE {lab.pve}, API https://127.0.0.1:{lab.ports.api}, pct over SSH on {lab.ports.ssh}{inside}"


def _data(lab: Lab) -> dict[str, object]:
    overlay = site_overlay.overlay_path(lab.name)
    return {
        "name": lab.name,
        "guests": lab.guests,
        "pve": lab.pve,
        "ports": lab.ports.named(),
        "folder": str(lab.layout.root),
        "site": str(overlay) if overlay else None,
    }


@lab_app.command()
def down(name: NameOption = DEFAULT, as_json: JsonOption = False) -> None:
    """Halt the lab's containers and stop the lab; containers and data stay."""
    ran = control.down(name, output.note)
    if as_json:
        output.document({"name": name, "ran": ran})
    else:
        output.lines([f"Lab '{name}' is down." if ran else f"Lab '{name}' was down already."])


@lab_app.command()
def status(name: NameOption = DEFAULT, as_json: JsonOption = False) -> None:
    """Show how the lab is; exit code 0 when it is up, 1 when it is not."""
    found = health.look(name)
    if as_json:
        output.document(found.as_data() if found else {"name": name, "up": False})
    elif found is None:
        named = f" --name {name}" if name != "default" else ""
        output.lines([f"There is no lab '{name}': zentoria lab up{named}"])
    else:
        _table(found)
    if found is None or not found.up:
        raise typer.Exit(ExitCode.FAILED)


def _table(found: health.Health) -> None:
    table = rich.table.Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    ports = found.lab.ports
    inside = "real LXC containers" if found.lab.guests == "lxc" else "none (the API alone)"
    rows = [
        ("lab", f"{found.lab.name} ({'up' if found.up else 'down'})"),
        ("release", f"Proxmox VE {releases.release_of(found.lab.pve).version}"),
        ("daemon", f"pid {found.daemon}" if found.daemon else "down"),
        ("API", f"{found.api}, https://127.0.0.1:{ports.api}"),
        ("SSH", f"{found.ssh}, port {ports.ssh}"),
        ("guests", inside),
        ("containers", f"{found.containers}, {found.running} running"),
        ("memory", f"{found.memory / (1 << 20):.0f} MiB"),
        ("folder", str(found.lab.layout.root)),
    ]
    if found.lab.guests == "lxc":
        rows.insert(6, ("ports", f"{ports.https} to the proxy container's 443, {ports.http} to its 80"))
    if found.firewall:
        rows.insert(-2, ("firewall", found.firewall))
    for left, right in rows:
        table.add_row(left, right)
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


@lab_app.command()
def reset(
    name: NameOption = DEFAULT,
    yes: YesOption = False,
    cache: Annotated[
        bool, typer.Option("--cache", help="Also remove what labs share: the built template, kept packages.")
    ] = False,
) -> None:
    """Remove the lab with all of its containers and their data. Asks first; leaves nothing but the shared cache."""
    folder = control.lab_folder(name)
    if folder.exists():
        question = f"Remove lab '{name}' with all containers and data in {folder}?"
        output.confirm(question, yes)
        control.reset(name, output.note)
        output.lines([f"Lab '{name}' is gone."])
    else:
        output.lines([f"There is no lab '{name}'."])
    if cache:
        control.drop_cache()
        output.lines(["The labs' cache is gone."])
    elif control.cache_folder().exists():
        output.note(f"The built template and kept packages stay in {control.cache_folder()}: --cache removes them too.")
