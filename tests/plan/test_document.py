"""The document of a plan: its schema is fresh, and real documents are of it."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from tests.support.json_schema import mismatches
from zentoria_infra.plan.show import document
from zentoria_infra.plan.show.document import PlanDocument, schema, shipped_schema


def test_the_schema_in_the_package_is_that_of_the_models() -> None:
    assert shipped_schema() == json.loads(json.dumps(schema())), (
        "write it again: .venv/bin/python -c "
        "'from zentoria_infra.plan.show import document as d; print(d.schema_text(), end=\"\")'"
        " > zentoria_infra/plan/show/plan.schema.json"
    )


def test_additions_of_a_later_minor_version_are_passed_over_and_another_major_one_is_refused() -> None:
    known = {"changes": False, "summary": {}, "version": "1.7", "news": 1}
    assert PlanDocument.model_validate(known).version == "1.7"
    with pytest.raises(ValidationError):
        PlanDocument.model_validate({**known, "version": "2.0"})
    with pytest.raises(ValidationError):
        PlanDocument.model_validate({**known, "format": "something-else"})
    assert (
        mismatches({**json.loads(PlanDocument(changes=False, summary={}).model_dump_json())}, schema(), schema()) == []
    )
    assert PlanDocument(changes=False, summary={}).format == document.FORMAT
