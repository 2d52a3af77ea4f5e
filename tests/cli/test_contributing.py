"""CONTRIBUTING.md, followed to the letter: its service is valid, planned and rendered; and gone without a trace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = dict(re.findall(r"^```\w+\n# (\S+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL))
PLACE = re.search(r'^Add `("clock": "[\w.:]+")` to `PLACES`', PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in ("inventory", "templates", "services", "zentoria_infra"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    shutil.copy(ROOT / "zones.yaml", folder)
    return folder


def zentoria(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project), "HOME": str(project / "home")}
    code = "from zentoria_infra.cli.entry import run; run()"
    argv = [sys.executable, "-c", code, *arguments, "--root", str(project), "--site", "lab"]
    found = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=project, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def follow(project: Path) -> None:
    for name, text in BLOCKS.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert PLACE is not None
    catalog = project / "zentoria_infra/roles/catalog.py"
    catalog.write_text(catalog.read_text().replace("PLACES: dict[str, str] = {", f"{PLACES_LINE}    {PLACE[1]},"))
    (project / "services/clock/src/zentoria_clock/__init__.py").touch()
    # in place of `make lock`, which asks an index: what the backend has locked is more than the clock needs
    shutil.copy(ROOT / "services/backend/requirements.lock", project / "services/clock/requirements.lock")


PLACES_LINE = "PLACES: dict[str, str] = {\n"


def test_a_service_is_forty_lines_of_python_and_one_block_of_yaml() -> None:
    assert list(BLOCKS) == [
        "services/clock/pyproject.toml", "services/clock/src/zentoria_clock/main.py", "zentoria_infra/roles/clock.py",
        "inventory/containers/424-clock.yaml",
    ]  # fmt: skip
    lines = [line for name, text in BLOCKS.items() if name.endswith(".py") for line in text.splitlines()]
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(('"""', "#"))]
    assert len(code) < 40


def test_what_the_page_says_makes_a_valid_service_and_what_it_takes_back_leaves_none(project: Path) -> None:
    before = zentoria(project, "plan", "--offline")
    follow(project)
    zentoria(project, "validate")
    plan = zentoria(project, "plan", "--offline")
    assert "+ 424 zentoria-clock: create" in plan
    out = project / "rendered"
    zentoria(project, "render", "--check", "--out", str(out))
    unit = next(out.rglob("zentoria-clock.service")).read_text()
    assert "ExecStart=/opt/zentoria/clock/current/bin/zentoria-clock serve" in unit
    assert next(out.rglob("zentoria-clock.socket")).exists()
    for name in BLOCKS:
        (project / name).unlink()
    shutil.rmtree(project / "services/clock")
    shutil.copy(ROOT / "zentoria_infra/roles/catalog.py", project / "zentoria_infra/roles/catalog.py")
    assert zentoria(project, "plan", "--offline") == before


def test_the_service_of_the_page_answers(project: Path) -> None:
    follow(project)
    sources = os.pathsep.join(str(project / "services" / name / "src") for name in ("clock", "common"))
    code = (
        "import asyncio, httpx\n"
        "from zentoria_clock.main import CommonSettings, create_app\n"
        "async def ask():\n"
        "    transport = httpx.ASGITransport(app=create_app(CommonSettings(), ()))\n"
        "    async with httpx.AsyncClient(transport=transport, base_url='http://clock') as client:\n"
        "        for path in ('/health', '/time', '/metrics'):\n"
        "            print('answer', path, (await client.get(path)).status_code)\n"
        "asyncio.run(ask())\n"
    )
    environment = {**os.environ, "PYTHONPATH": sources}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    answers = [line for line in found.stdout.splitlines() if line.startswith("answer ")]
    assert answers == ["answer /health 200", "answer /time 200", "answer /metrics 200"], found.stdout


def test_every_room_is_on_the_page() -> None:
    rooms = {path.name for path in (ROOT / "zentoria_infra").iterdir() if (path / "__init__.py").exists()}
    table = PAGE[PAGE.index("| room |") : PAGE.index("Imports run")]
    assert {room for room in rooms if not re.search(rf"\b{room}\b", table)} == set()
