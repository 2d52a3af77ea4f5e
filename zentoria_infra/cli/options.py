"""Options that several commands share, besides those of :mod:`zentoria_infra.cli.context`."""

from __future__ import annotations

from typing import Annotated

import typer

from zentoria_infra.cli.context import complete_container, complete_zone
from zentoria_infra.plan.limits import Allow

NamesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME|VMID...",
        help="Containers, as `db`, `zentoria-db` or `404`.",
        autocompletion=complete_container,
    ),
]
AllowOption = Annotated[
    list[Allow] | None,
    typer.Option(
        "--allow",
        help="Go beyond a limit: `replace` lets containers be destroyed and made again, `restarts` lets more of them "
        "restart at once than the site's `limits.restarts` (30 %), `data` lets data volumes be taken away, mounted at "
        "another path or hidden by others, `snapshots` lets snapshots of others go with a container that is destroyed.",
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME|VMID",
        help="Only this container; may be given several times.",
        autocompletion=complete_container,
    ),
]
ZoneOption = Annotated[
    list[str] | None,
    typer.Option(
        "--zone",
        metavar="ZONE",
        help="Only the containers of this zone; may be given several times.",
        autocompletion=complete_zone,
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="NAME|VMID",
        help="Not this container; may be given several times.",
        autocompletion=complete_container,
    ),
]
