"""Container 412: text recognition, by Tesseract through OCRmyPDF."""

from __future__ import annotations

from collections.abc import Mapping

from zentoria_infra.inventory.model import Service
from zentoria_infra.roles.kit import clients
from zentoria_infra.roles.kit.fragment import Context
from zentoria_infra.roles.kit.python_service import python_service

SPARE = 256
"""MiB of the container's memory that are the service's own and the system's, and not a document's."""
DEFAULT_LANGUAGES = ("eng",)
"""What the service reads where its settings name no languages."""


def _packages(service: Service) -> tuple[str, ...]:
    """Tesseract with the languages of the service's settings, and what cleans pages. No Ghostscript: PDFium draws."""
    named = service.settings.get("languages", DEFAULT_LANGUAGES)
    languages = named if isinstance(named, tuple) else (named,)
    return ("tesseract-ocr", "unpaper", *(f"tesseract-ocr-{str(one).replace('_', '-')}" for one in languages))


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    resources = context.container.resources
    found: dict[str, object] = {"ZENTORIA_CHILD_MEMORY": max(SPARE, resources.memory - SPARE) * 1024 * 1024}
    if "threads" not in service.settings:
        found["ZENTORIA_THREADS"] = min(resources.cores, 4)
    paperless = clients.callee(context.inventory, service, "paperless")
    if paperless is not None and context.inventory.component(paperless[1]) is not None:
        found["ZENTORIA_PAPERLESS_URL"] = f"http://{paperless[0].address}:{paperless[1].port('http').first}"
    return found


ROLE = python_service(
    "ocr",
    title="text recognition",
    uses=("s3",),
    variables=_variables,
    supplied={"paperless_token": "zentoria/api_keys/paperless_token"},
    identity=True,
    packages=_packages,
    state="zentoria-ocr",
)
