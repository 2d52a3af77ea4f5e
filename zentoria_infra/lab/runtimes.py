"""What runs a lab's containers, and how one gets into them."""

from __future__ import annotations

from zentoria_infra.lab.lxc import template
from zentoria_infra.lab.lxc.runtime import LxcRuntime
from zentoria_infra.lab.null_runtime import NullRuntime
from zentoria_infra.lab.registry import Lab
from zentoria_infra.lab.shell.pct import VMID_MARK

_MARK = 999999999
_TEMPLATE_SIZE = 127_000_000


def runtime_of(lab: Lab) -> LxcRuntime | NullRuntime:
    """What runs a lab's containers. Without guests the template is there by name alone."""
    if lab.guests == "lxc":
        return LxcRuntime(lab.layout)
    return NullRuntime(lab.layout, templates={template.NAME: _TEMPLATE_SIZE})


def attach_words(runtime: LxcRuntime | NullRuntime) -> list[str]:
    """The argv that runs a program in container ``VMID_MARK``; empty without guests."""
    if isinstance(runtime, NullRuntime):
        return []
    return [word.replace(str(_MARK), VMID_MARK) for word in runtime.attach_argv(_MARK)]
