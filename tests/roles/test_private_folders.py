"""Folders of secrets are private whichever secret is made first."""

import stat
from pathlib import Path

from zentoria_infra.execute.secret_file import SecretFile
from zentoria_infra.execute.site_ca import SiteCa


def test_folders_made_on_the_way_are_private_whoever_comes_first(tmp_path: Path) -> None:
    site = tmp_path / "site"
    SiteCa(site / "ca", "Home").server_certificate(["localhost"])
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    made = SecretFile(site / "secrets.json", outside=tmp_path / "project").get_or_create("zentoria/a", lambda: "x" * 32)
    assert made.get_secret_value() == "x" * 32
