"""Workflows: lists and starts them, where n8n is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from zentoria_ai.agents.kit import READ, SEND, WRITE, Agent, Arguments, Heard, Step

_WORKFLOW = {"workflow": "Which workflow?", "workflow_id": "Which workflow?", "name": "Which workflow?"}


class WorkflowAgent(Agent):
    """Works with workflows. What one does is not known here: starting one counts as sending."""

    name = "workflow"
    reads = ("workflows_",)
    steps: ClassVar[Mapping[str, Step]] = {
        "workflow.run": Step(("workflows_run",), WRITE | SEND | {"destroy"}, _WORKFLOW),
        "workflow.list": Step(("workflows_list",), READ),
        "workflow.create": Step(("workflows_create",), WRITE, {"description": "What shall it do?"}),
    }

    def arguments(self, intent: str, heard: Heard) -> Arguments:
        """The workflow that is meant, and what it is given."""
        found: dict[str, object] = {}
        if (name := heard.first("workflow")) is not None:
            found |= {"workflow": name, "workflow_id": name, "name": name}
        if files := heard.files():
            found |= {"input": {"files": files}, "file_ids": files}
        if intent == "workflow.create":
            found["description"] = heard.text
        return found

    def say(self, intent: str, heard: Heard) -> str:
        """What is proposed."""
        name = heard.first("workflow")
        if heard.german:
            run = f"Ich würde den Workflow {name} starten, wenn Sie zustimmen." if name else "Welchen Workflow?"
            return {"workflow.run": run, "workflow.list": "Das sind Ihre Workflows."}.get(
                intent, "Ich würde diesen Workflow anlegen."
            )
        run = f"I would start the workflow {name}, if you approve." if name else "Which workflow?"
        return {"workflow.run": run, "workflow.list": "These are your workflows."}.get(
            intent, "I would make this workflow."
        )
