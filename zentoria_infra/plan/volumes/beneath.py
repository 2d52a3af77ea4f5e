"""What lies in a container's own disk where a volume is going to be mounted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from zentoria_infra.guest.state import GuestReport
from zentoria_infra.plan.model.change import AttributeChange, Via
from zentoria_infra.plan.model.desired import DesiredContainer


def over_files(
    changes: Iterable[AttributeChange], desired: DesiredContainer, report: GuestReport | None
) -> Iterator[AttributeChange]:
    """The same changes; a volume that is mounted over files of the container's own disk takes them out of sight.

    Only a look inside can tell: Proxmox mounts over them unasked.
    """
    volumes = {volume.key: volume for volume in desired.volumes}
    beneath = {one.id: one.beneath for one in report.resources if one.beneath} if report else {}
    for one in changes:
        volume = volumes.get(one.key)
        size = beneath.get(f"volume:{volume.path}", 0) if volume is not None else 0
        if volume is None or not size or one.via is not Via.CONFIG:
            yield one
            continue
        text = f"volume '{volume.name}', {one.key} hides the files at {volume.path} that are not on a volume"
        said = f"{text} ({max(1, -(-size // 1024)):,} KiB): move them away before, or copy them onto it afterwards"
        yield dataclasses.replace(one, hides="; ".join(part for part in (one.hides, said) if part))
