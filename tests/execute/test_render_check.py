"""Every template is rendered with stand-ins, and each file judged by the tool that knows it."""

from __future__ import annotations

import dataclasses
import shutil
import stat
from pathlib import Path

import pytest

from zentoria_infra.inventory.load import load
from zentoria_infra.render import tools as render_tools
from zentoria_infra.render.check import Checked, Level, check_tree, say
from zentoria_infra.render.parsers import PARSERS
from zentoria_infra.render.tools import TOOLS, UNCHECKABLE, Question, Tool
from zentoria_infra.render.tree import FIREWALL, FOR_LATER, RenderedFile, Tree, render_tree

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return render_tree(load(ROOT, "lab"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("inventory", "templates", "services"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    shutil.copy(ROOT / "zones.yaml", tmp_path)
    return tmp_path


def judged(*files: RenderedFile, tools: tuple[Tool, ...] = TOOLS) -> tuple[Checked, ...]:
    return check_tree(Tree(files), tools)


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    """A program of that name, before all others."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_every_template_is_rendered_and_nothing_is_wrong(tree: Tree) -> None:
    assert tree.errors == ()
    templates = {
        path.relative_to(ROOT / "templates").as_posix() for path in (ROOT / "templates").rglob("*") if path.is_file()
    }
    parts = {"nginx/_headers"}
    workflows = {name for name in templates if name.startswith("ci/")}
    assert {one.template for one in tree.files} - {""} == templates - parts - workflows - FOR_LATER
    assert len({one.guest for one in tree.files}) == 18
    assert {one.path for one in tree.files if one.guest == FIREWALL} >= {"/etc/pve/firewall/cluster.fw", "gateway.nft"}


def test_all_files_are_accounted_for_and_none_fails(tree: Tree) -> None:
    found = check_tree(tree)
    assert [one.file for one in found] == list(tree.files)
    assert [one for one in found if one.level is Level.FAILED] == []
    silent = [one.file.path for one in found if one.level is Level.NONE and not one.wants]
    assert silent == [], "neither a tool nor a parser nor a word about why"
    lines = list(say(found))
    assert sum(int(line.split()[0]) for line in lines) == len(tree.files)


@pytest.mark.parametrize(
    ("template", "old", "new", "place"),
    [
        ("nginx/nginx.conf", "{{ workers }}", "{{ wrokers }}", "templates/nginx/nginx.conf:3"),
        ("nginx/_headers", "$http_host;", "{{ nobody }};", "templates/nginx/_headers:1"),
        ("nginx/site.conf", "{% if route.private %}", "{% if route.privat %}", "templates/nginx/site.conf:71"),
        ("redis/redis.conf", "{{ port }}", "{{ port", "templates/redis/redis.conf:4"),
        ("base/apt.conf", '"{{ proxy }}"', '"{{ porxy }}"', "templates/base/apt.conf:10"),
        ("firewall/gateway.nft", "gateway.outside", "getaway.outside", "templates/firewall/gateway.nft:27"),
    ],
)  # fmt: skip
def test_names_that_nobody_gives_are_told_with_file_and_line(
    project: Path, template: str, old: str, new: str, place: str
) -> None:
    """The proxy of apt.conf is a branch that the home site does not take."""
    file = project / "templates" / template
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    errors = render_tree(load(project)).errors
    assert any(place in error for error in errors), errors


def test_a_template_that_nothing_is_rendered_from_is_told(project: Path) -> None:
    (project / "templates/base/left-over").write_text("x\n")
    assert render_tree(load(project)).errors == (
        "templates/base/left-over: nothing is rendered from it: remove it, or use it",
    )


BAD = [
    ("/etc/systemd/system/x.service", "[Service]\nExecStart=/bin/true\nRestrat=no\n", "systemd-analyze", "Restrat"),
    ("/etc/systemd/system/x.service.d/y.conf", "[Service]\nRestart=somtimes\n", "systemd-analyze", "somtimes"),
    ("/etc/ssh/sshd_config.d/x.conf", "PermitRotLogin no\n", "sshd", "PermitRotLogin"),
    ("/etc/apt/apt.conf.d/80x", 'A::B "c"\n', "apt-config", "80x"),
    ("/etc/apt/sources.list.d/x.sources", "Types: deb\nURIs: https://example.org\n", "apt-get", "Suite"),
    ("/usr/local/bin/x", "#!/bin/sh\nif true; then\n", "sh", "end of file"),
    ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA\n", "ssh-keygen", "not a public key"),
    ("/etc/postgresql/15/main/conf.d/x.conf", "prot = 5432\n", "postgres", "prot"),
    ("/etc/nginx/nginx.conf", "events {}\nhttp {\n    servre {}\n}\n", "nginx", "servre"),
    ("/etc/redis/redis.conf", "prot 6379\n", "redis-server", "prot"),
    ("/etc/sudoers.d/x", "root ALL=(ALL ALL\n", "visudo", "syntax"),
    ("/etc/haproxy/haproxy.cfg", "globla\n", "haproxy", "globla"),
    ("x.nft", "table inet x { chian y {} }\n", "nft", "chian"),
    ("x.iptables", "*filter\n-A INPUT --dprot 1 -j ACCEPT\nCOMMIT\n", "iptables-restore", "dprot"),
]


@pytest.mark.parametrize(("path", "text", "program", "words"), BAD, ids=[f"{one[2]} {one[0]}" for one in BAD])
def test_a_real_tool_says_what_is_wrong(path: str, text: str, program: str, words: str) -> None:
    tool = next(one for one in TOOLS if one.program == program and one.takes(path, text))
    place = render_tools.find(program, render_tools.postgres_of([path]))
    if place is None:
        pytest.skip(f"{program} is not on this machine")
    if unfit := tool.unfit(place, [path]):
        pytest.skip(f"needs {unfit}")
    (found,) = judged(RenderedFile("x", path, text))
    assert (found.level, found.by) == (Level.FAILED, tool.title)
    assert words in found.said
    assert "/zentoria-" not in found.said, "paths are the guest's own"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/a.json", "{"), ("/etc/a.toml", "a ="), ("/etc/a.yaml", "a: ["), ("/etc/a.py", "def"),
        ("/etc/pgbouncer/pgbouncer.ini", "[a]\nx\n"), ("/etc/default/x", 'A="b"c"\n'),
        ("/etc/hosts", "10.0.0.999 x\n"), ("/etc/hostname", "a_b\n"), ("/etc/timezone", "Nowhere/City\n"),
        ("/etc/postgresql/17/main/pg_hba.conf", "host all all 10.0.0.0/33 trust\n"),
        ("/etc/pgbouncer/userlist.txt", '"a" "password"\n'), ("/etc/pve/firewall/1.fw", "[RULEZ]\n"),
        ("/x/fullchain.pem", "x"), ("/x/privkey.pem", "x"), ("/x/database_password", "two words\n"),
        ("/etc/.pve-ignore.hosts", "x"), ("/etc/systemd/journald.conf.d/x.conf", "Storage=x\n"),
    ],
)  # fmt: skip
def test_without_a_tool_a_parser_says_what_is_wrong(path: str, text: str) -> None:
    (found,) = judged(RenderedFile("x", path, text), tools=())
    assert found.level is Level.FAILED and found.said


def test_a_tool_that_is_not_here_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_tools, "_PLACES", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    named, parsed, sql = judged(
        RenderedFile("x", "/etc/haproxy/haproxy.cfg", "x"),
        RenderedFile("x", "/etc/prometheus/prometheus.yml", "a: 1\n"),
        RenderedFile("x", "a.sql", "select 1"),
    )
    assert (named.level, named.wants) == (Level.NONE, "haproxy")
    assert (parsed.level, parsed.by, parsed.wants) == (Level.PARSED, "YAML", "promtool")
    assert (sql.level, sql.wants) == (Level.NONE, "a running PostgreSQL")


def test_a_tool_of_another_version_does_not_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "nginx", 'echo "nginx version: nginx/1.18.0" >&2; exit 1')
    (found,) = judged(RenderedFile("x", "/etc/nginx/nginx.conf", "events {}\n"))
    assert (found.level, found.wants) == (Level.NONE, "nginx 1.25.1 or newer, here is 1.18.0")


def test_nginx_is_given_a_tree_that_it_can_open_without_being_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No port below 1024, no user, no folder of the machine's own: a fake shows what it would read."""
    script = (
        '[ "$1" = -v ] && { echo "nginx version: nginx/1.26.3" >&2; exit 0; }\n'
        'while [ "$1" != -c ]; do shift; done\n'
        'cat "$2" "$(dirname "$2")"/zentoria/*.conf; exit 1'
    )
    fake(tmp_path, monkeypatch, "nginx", script)
    files = [one for one in render_tree(load(ROOT, "lab")).files if one.guest == "proxy"]
    found = [one for one in check_tree(Tree(tuple(files))) if one.by == "nginx -t"]
    assert len(found) == 6 and len({one.said for one in found}) == 1
    said = found[0].said
    assert "listen unix:" in said and "listen 80" not in said and "user www-data" not in said
    assert "client_body_temp_path" in said
    assert "include /etc/nginx/zentoria/site.conf;" in said  # told as the guest's own path


def test_tools_are_asked_with_files_that_only_we_can_read(tmp_path: Path) -> None:
    modes: list[int] = []

    def look(question: Question) -> str:
        modes.extend(stat.S_IMODE(one.stat().st_mode) for one in question.root.rglob("*") if one.is_file())
        return ""

    tool = Tool("looks", "sh", ("/x/*",), look)
    (found,) = judged(RenderedFile("x", "/x/secret", "s"), tools=(tool,))
    assert found.level is Level.TOOL and modes == [0o600]


def test_the_same_content_is_asked_about_once() -> None:
    asked: list[str] = []
    tool = Tool("counts", "sh", ("/x/*",), lambda question: asked.append(question.file) or "")
    files = [RenderedFile(f"guest{n}", "/x/a", "same") for n in range(5)]
    assert {one.level for one in judged(*files, tools=(tool,))} == {Level.TOOL}
    assert len(asked) == 1
    judged(*files, dataclasses.replace(files[0], text="other"), tools=(tool,))
    assert len(asked) == 3


def test_no_pattern_is_covered_by_an_earlier_tool_alone() -> None:
    """A table in which nothing can be reached would check nothing."""
    assert len({tool.title for tool in TOOLS}) == len(TOOLS)
    assert all(tool.covers for tool in TOOLS) and PARSERS and UNCHECKABLE
