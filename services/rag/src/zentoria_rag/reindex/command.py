"""``zentoria-rag reindex``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from zentoria_common.problems import Unavailable
from zentoria_common.program import Command

from zentoria_rag.models.embedder import EngineFails
from zentoria_rag.models.space import WrongSpace
from zentoria_rag.reindex.service import StillLacking, reindex
from zentoria_rag.services import make_services
from zentoria_rag.settings import Secrets, Settings

STATEMENT_SECONDS = 3600.0
"""An index of a million passages takes a while."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--drop-old", action="store_true", help="remove the vectors of models that answer no more")
    parser.add_argument("--json", action="store_true", help="print one object when it is done")


async def run(settings: Settings, secrets: Secrets, options: argparse.Namespace) -> int:
    """Do it; how it goes on is told on standard error."""
    services = make_services(settings, secrets, statement_timeout=STATEMENT_SECONDS)
    try:
        done = await reindex(services, lambda text: print(text, file=sys.stderr, flush=True), drop=options.drop_old)
    except (EngineFails, StillLacking, Unavailable, WrongSpace) as error:
        told = error.detail if isinstance(error, EngineFails | Unavailable) else str(error)
        sys.stderr.write(f"zentoria-rag: reindex: {told}; call again: it goes on where it was\n")
        return 1
    finally:
        await services.close()
    if options.json:
        print(json.dumps(dataclasses.asdict(done)))
    else:
        print(
            f"{done.model} answers{'' if done.model == done.before else f' in place of {done.before}'}: "
            f"{done.embedded} embedded, {done.indexed} indexed, {done.removed} files removed from the index, "
            f"{done.dropped} old vectors removed"
        )
    return 0


COMMAND = Command("reindex", "make the search index anew from the record; fill and use the settings' model", configure,
                  run)  # fmt: skip
