"""The web application's state: a release that its Node runs, a socket that systemd holds, and where the gateway is."""

from __future__ import annotations

import pytest

from tests.roles.roles_support import FixedMaterials, inventory, state, text, units
from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Release
from zentoria_infra.inventory.component_model import WorkspaceComponent

SETTINGS = "/etc/zentoria/frontend/environment"
UNIT = "/etc/systemd/system/zentoria-frontend.service"


def test_it_is_told_where_the_gateway_is_and_runs_its_own_node() -> None:
    guest = state("frontend")
    given = text(guest, SETTINGS)
    assert 'ZENTORIA_GATEWAY_URL="http://10.10.40.1:4000"' in given
    assert f'ZENTORIA_PUBLIC_URL="{inventory().site.public_url}"' in given
    unit = text(guest, UNIT)
    assert "ExecStart=/opt/zentoria/frontend/current/bin/node " in unit
    assert "User=zentoria" in unit and "StateDirectory=zentoria-frontend" in unit
    assert "--max-old-space-size=256 " in unit
    socket = text(guest, "/etc/systemd/system/zentoria-frontend.socket")
    assert "ListenStream=10.10.40.0:3000" in socket and "ListenStream=127.0.0.1:3000" in socket
    assert {"zentoria-frontend.service", "zentoria-frontend.socket"} <= set(units(guest))


def test_the_release_comes_after_its_settings_with_a_gate() -> None:
    materials = FixedMaterials()
    guest = state("frontend", materials=materials)
    (release,) = [one for one in guest.resources if isinstance(one, Release)]
    assert (release.health_url, release.user) == ("http://10.10.40.0:3000/health", "zentoria")
    names = [one.id for one in guest.resources]
    assert names.index(f"file:{SETTINGS}") < names.index(release.id) < names.index("unit:zentoria-frontend.service")
    ((component, _, _),) = materials.archives
    assert isinstance(component, WorkspaceComponent) and component.directory == "frontend"


def test_a_source_without_a_node() -> None:
    source = {"kind": "workspace", "directory": "frontend"}
    with pytest.raises(InventoryError, match="comes from 'workspace' without node"):
        state("frontend", overrides={"components": {"frontend": source}})
