"""The shipped inventory, compiled."""

from __future__ import annotations

import re

import pytest

from tests.firewall.fw_compiled import DENY, LAYOUTS, rules, shipped
from tests.firewall.fw_inventories import GATEWAY, REPOSITORY, words
from zentoria_infra.firewall.compiled.compile import compile_firewall
from zentoria_infra.firewall.compiled.intent import Kind
from zentoria_infra.inventory.flows import expand_flows


class TestShipped:
    """The inventory that is shipped."""

    @LAYOUTS
    def test_every_flow_has_its_intents_and_no_intent_is_without_a_flow(self, objects: str) -> None:
        whole = shipped(objects)
        compiled = compile_firewall(whole)
        ports = {
            (intent.key.split("/")[1], intent.source, intent.destination, intent.protocol, number)
            for intent in compiled.intents
            if intent.kind is Kind.FLOW
            for first, last in intent.ports
            for number in range(first, last + 1)
        }
        assert ports == {
            (f"row-{one.row}" if one.row else "derived", one.source, one.destination, one.protocol, number)
            for one in expand_flows(whole)
            for number in range(one.first, one.last + 1)
        }
        rows = {intent.origin for intent in compiled.intents if intent.origin.startswith("row ")}
        assert rows == {f"row {number}" for number in range(1, 36)}
        derived = {flow.origin for flow in whole.flows if flow.derived}
        assert derived == {intent.origin for intent in compiled.intents if intent.origin.startswith("derived")}

    def test_positions_are_lines_that_say_so(self) -> None:
        compiled = compile_firewall(shipped())
        lines = (REPOSITORY / "zones.yaml").read_text().splitlines()
        flows = [intent for intent in compiled.intents if intent.kind is Kind.FLOW]
        assert {intent.position.file for intent in flows} == {"zones.yaml"}
        assert all(re.match(r"\s*(ports|exposes):", lines[intent.position.line - 1]) for intent in flows)
        (outside,) = (intent for intent in compiled.intents if intent.key == "zt/egress/auth/tcp/443")
        text = (REPOSITORY / outside.position.file).read_text().splitlines()[outside.position.line - 1]
        assert "accounts.google.com" in text
        assert compiled.positions["404"].file == "inventory/containers/404-db.yaml"

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (
                "db",
                [
                    "GROUP zt-home_common net0 zt/group/common",
                    "IN ACCEPT net0 < dc/zt-home_backend tcp 5432,6432 zt/row-7/backend/db/tcp",
                    "IN ACCEPT net0 < dc/zt-home_n8n tcp 5432 zt/row-17/n8n/db/tcp",
                    "IN ACCEPT net0 < dc/zt-home_ai tcp 5432 zt/row-23/ai/db/tcp",
                    "IN ACCEPT net0 < dc/zt-home_ocr tcp 5432 zt/row-30/ocr/db/tcp",
                    "IN ACCEPT net0 < dc/zt-home_embeddings tcp 5432 zt/row-32/embeddings/db/tcp",
                    "IN ACCEPT net0 < dc/zt-home_backup tcp 5432 zt/row-33/backup/db/tcp",
                    "IN ACCEPT net0 < dc/zt-home_logs tcp 9187 zt/row-34/logs/db/tcp",
                    "IN ACCEPT net0 < dc/zt-home_auth tcp 5432,6432 zt/derived/auth/db/tcp",
                    "GROUP zt-home_deny zt/group/deny",
                ],
            ),
            (
                "backend",
                [
                    "GROUP zt-home_common net0 zt/group/common",
                    "IN ACCEPT net0 < dc/zt-home_proxy tcp 4000:4001 zt/row-3/proxy/backend/tcp",
                    "IN ACCEPT net0 < dc/zt-home_frontend tcp 4000:4001 zt/row-6/frontend/backend/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_db tcp 5432,6432 zt/row-7/backend/db/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_redis tcp 6379 zt/row-8/backend/redis/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_vault tcp 8200 zt/row-9/backend/vault/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_ai tcp 5000,11434 zt/row-10/backend/ai/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_files tcp 9000 zt/row-11/backend/files/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_auth tcp 9000 zt/row-12/backend/auth/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_embeddings tcp 6333,8100 zt/row-13/backend/embeddings/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_voice tcp 9300:9301 zt/row-14/backend/voice/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_ocr tcp 8000:8001 zt/row-15/backend/ocr/tcp",
                    "IN ACCEPT net0 < dc/zt-home_n8n tcp 4000 zt/row-16/n8n/backend/tcp",
                    "IN ACCEPT net0 < dc/zt-home_logs tcp 4000 zt/row-34/logs/backend/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_n8n tcp 5678 zt/derived/backend/n8n/tcp",
                    "IN ACCEPT net0 < dc/zt-home_embeddings tcp 4000 zt/derived/embeddings/backend/tcp",
                    "OUT ACCEPT net0 > +dc/zt-home_internet tcp 443 zt/egress/backend/tcp/443",
                    f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/dns/backend/udp",
                    f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/dns/backend/tcp",
                    "GROUP zt-home_deny zt/group/deny",
                ],
            ),
            (
                "proxy",
                [
                    "GROUP zt-home_common net0 zt/group/common",
                    "IN ACCEPT net0 < +dc/zt-home_outside tcp 80,443 zt/row-1/internet/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_frontend tcp 3000 zt/row-2/proxy/frontend/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_backend tcp 4000:4001 zt/row-3/proxy/backend/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_n8n tcp 5678 zt/row-4/proxy/n8n/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_logs tcp 3001,9090 zt/row-5/proxy/logs/tcp",
                    "IN ACCEPT net0 < dc/zt-home_logs tcp 9113 zt/row-34/logs/proxy/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_waf tcp 7422,8080 zt/derived/proxy/waf/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_docs tcp 8080 zt/derived/proxy/docs/tcp",
                    "OUT ACCEPT net0 > dc/zt-home_auth tcp 9000 zt/derived/proxy/auth/tcp",
                    "OUT ACCEPT net0 > +dc/zt-home_internet tcp 443 zt/egress/proxy/tcp/443",
                    f"OUT ACCEPT net0 > {GATEWAY} udp 53 zt/dns/proxy/udp",
                    f"OUT ACCEPT net0 > {GATEWAY} tcp 53 zt/dns/proxy/tcp",
                    "GROUP zt-home_deny zt/group/deny",
                ],
            ),
        ],
    )
    def test_exact_rules(self, name: str, expected: list[str]) -> None:
        assert rules(compile_firewall(shipped()), name) == expected

    def test_the_shared_rules(self) -> None:
        common, deny = compile_firewall(shipped()).configuration.datacenter.groups
        assert [words(rule) for rule in common.rules] == [
            "IN ACCEPT < dc/zt-home_logs tcp 9100 zt/row-34/logs/all/tcp",
            "OUT ACCEPT > dc/zt-home_logs tcp 3100 zt/derived/all/logs/tcp",
        ]
        assert [words(rule) for rule in deny.rules] == DENY

    @LAYOUTS
    def test_is_the_same_every_time(self, objects: str) -> None:
        assert compile_firewall(shipped(objects)) == compile_firewall(shipped(objects))
