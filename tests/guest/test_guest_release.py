"""Releases of a Python service: built, gated, switched, returned from; with a wheel made by hand."""

import base64
import hashlib
import http.server
import importlib.util
import io
import json
import os
import signal
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.guest_world import ME, Guest, outcomes, state
from zentoria_infra.errors import GuestError
from zentoria_infra.guest import protocol
from zentoria_infra.guest.artifact import Wheel, Wheels
from zentoria_infra.guest.state import File, GuestReport, Release, Rollback, Unit

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ensurepip") is None, reason="this Python has no ensurepip, so it makes no environments"
)


def wheel(version: str) -> bytes:
    """A distribution ``tiny`` with one module that says its version, and nothing it depends on."""
    info = f"tiny-{version}.dist-info"
    files = {
        "tiny.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(name), text)  # its date is fixed: equal wheels are equal
    return held.getvalue()


def wheels(version: str, blob: str, said: str) -> Wheels:
    name = f"tiny-{version}-py3-none-any.whl"
    return Wheels(wheels=(Wheel(name=name, blob=blob),), requirements=f"tiny=={version} --hash=sha256:{said}\n")


class Service:
    """Stands in for the service: answers 200 unless the release that ``current`` points to is a sick one."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.root = guest.root / "app"
        self.sick: set[str] = set()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code = 503 if service.current in service.sick else 200
                self.send_response(code)
                self.end_headers()
                self.wfile.write(b"database: no answer" if code == 503 else b"ok")

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        guest.fake(
            "systemctl",
            'case "$1" in show) printf "Id=app.service\\nLoadState=loaded\\nActiveState=active\\n'
            'UnitFileState=enabled\\n";; is-failed) exit 1;; esac',
        )
        guest.fake("journalctl", "echo the journal of app")

    @property
    def current(self) -> str:
        link = self.root / "current"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else ""

    def restarts(self) -> int:
        return self.guest.commands().count("systemctl restart app.service")

    def release(self, version: str, **more: object) -> Release:
        content = wheel(version)
        blob = self.guest.add_blob(content)
        defaults = {
            "id": "app",
            "root": str(self.root),
            "version": f"{version}-hash",
            "content": wheels(version, blob, blob),
            "units": ("app.service",),
            "preflight": ("python", "-c", f"import tiny; assert tiny.VERSION == '{version}'"),
            "health_url": f"http://127.0.0.1:{self.server.server_address[1]}/health",
            "health_timeout": 1,
        }
        return Release.model_validate({**defaults, **more})


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(Guest(tmp_path))
    yield service
    service.server.shutdown()
    service.server.server_close()


def killed_at(service: Service, text: str, *resources: Release | Unit) -> None:
    """Apply, and kill the agent when it says that it is at ``text``."""
    pipe = service.guest.pipe()

    def heard(event: dict[str, str]) -> None:
        if event.get("text", "").startswith(text):
            pipe.process.send_signal(signal.SIGKILL)

    with pytest.raises(GuestError, match="exit code -9"):
        protocol.converge(pipe, state(*resources), service.guest, "apply", heard)
    pipe.end()


def test_a_release_is_deployed_once_and_readable_by_its_service(service: Service) -> None:
    first = service.release("1.0")
    assert outcomes(service.guest.run(first, mode="check")) == {"app": "would-change"}
    assert service.current == ""
    report = service.guest.run(first)
    assert report.failed == "", report
    assert (service.current, service.restarts()) == ("1.0-hash", 1)
    assert outcomes(service.guest.run(first)) == {"app": "unchanged"}
    assert service.restarts() == 1
    for folder, _, names in os.walk(service.root):
        assert os.stat(folder).st_mode & 0o005 == 0o005, folder
        assert all(os.stat(os.path.join(folder, name)).st_mode & 0o004 for name in names)


def test_a_release_asked_for_again_goes_through_the_gate_without_a_build(service: Service) -> None:
    service.guest.run(service.release("1.0"))
    service.guest.blobs.clear()
    again = service.release("1.0", nonce="a")
    service.guest.blobs.clear()
    assert outcomes(service.guest.run(again)) == {"app": "changed"}
    assert outcomes(service.guest.run(again)) == {"app": "unchanged"}
    assert outcomes(service.guest.run(service.release("1.0"))) == {"app": "unchanged"}, "without a nonce: not asked for"
    assert service.restarts() == 2


def test_a_sick_release_is_left_for_the_last_one_and_tried_again(service: Service) -> None:
    service.guest.run(service.release("1.0"))
    service.sick.add("2.0-hash")
    report = service.guest.run(service.release("2.0"))
    assert report.failed == "app"
    assert "returned to release 1.0-hash" in report.resources[0].detail
    assert "answered 503: database: no answer" in report.resources[0].detail
    assert "the journal of app" in report.resources[0].output
    assert (service.current, service.restarts()) == ("1.0-hash", 3)
    service.sick.clear()
    assert outcomes(service.guest.run(service.release("2.0"))) == {"app": "changed"}
    assert service.current == "2.0-hash"


def test_a_sick_first_release_is_not_taken_for_deployed(service: Service) -> None:
    service.sick.add("1.0-hash")
    assert service.guest.run(service.release("1.0")).failed == "app"
    assert service.guest.run(service.release("1.0")).failed == "app"
    service.sick.clear()
    assert outcomes(service.guest.run(service.release("1.0"))) == {"app": "changed"}


def test_a_release_that_fails_its_preflight_never_runs(service: Service) -> None:
    service.guest.run(service.release("1.0"))
    report = service.guest.run(service.release("2.0", preflight=("python", "-c", "raise SystemExit('no database')")))
    assert "does not pass its preflight" in report.resources[0].detail
    assert "no database" in report.resources[0].output
    assert (service.current, service.restarts()) == ("1.0-hash", 1)


@pytest.mark.parametrize("moment", ["build the environment", "preflight", "restart"])
def test_a_killed_deployment_is_made_good(service: Service, moment: str) -> None:
    service.guest.run(service.release("1.0"))
    unit = Unit(id="u", name="app.service", reads=("app",))
    killed_at(service, moment, service.release("2.0"), unit)
    before = service.restarts()
    report = service.guest.run(service.release("2.0"), unit)
    assert report.failed == "", report
    assert outcomes(report)["app"] == "changed"
    assert service.current == "2.0-hash"
    assert service.restarts() > before
    assert set(outcomes(service.guest.run(service.release("2.0"), unit)).values()) == {"unchanged"}


def test_a_release_killed_before_its_gate_is_returned_from_by_the_next_run(service: Service) -> None:
    service.guest.run(service.release("1.0"))
    service.sick.add("2.0-hash")
    killed_at(service, "restart", service.release("2.0"))
    assert service.current == "2.0-hash"
    report = service.guest.run(service.release("2.0"))
    assert "returned to release 1.0-hash" in report.resources[0].detail
    assert service.current == "1.0-hash"


def test_a_wheel_that_is_not_the_one_asked_for_is_not_installed(service: Service) -> None:
    content = service.release("1.0").content
    assert isinstance(content, Wheels)
    wrong = service.release("1.0", content=wheels("1.0", content.wheels[0].blob, "0" * 64))
    report = service.guest.run(wrong)
    assert report.failed == "app"
    assert service.current == ""


def test_old_releases_go_and_only_new_wheels_are_sent(service: Service) -> None:
    for version in ("1.0", "2.0", "3.0", "4.0"):
        assert service.guest.run(service.release(version, keep=2)).failed == ""
    assert sorted(os.listdir(service.root / "releases")) == ["3.0-hash", "4.0-hash"]
    assert len(os.listdir(service.guest.root / "state/wheels")) == 1


def test_a_password_in_the_environment_is_in_no_report(service: Service) -> None:
    password = "Xk29-canary-Yw71-more"
    env = service.guest.root / "app.env"
    file = File(id="env", path=str(env), text=f"DSN=postgresql://app:{password}@db/x\n", secret=True, mode="0600", **ME)
    leak = ("python", "-c", "import os; raise SystemExit('cannot reach ' + os.environ['DSN'][:30])")
    report = service.guest.run(file, service.release("1.0", preflight=leak, environment_file=str(env)))
    assert report.failed == "app"
    assert "cannot reach ****" in report.resources[1].output
    assert password[:8] not in report.model_dump_json()


def back(service: Service, number: int, mode: str = "apply") -> GuestReport:
    wish = Rollback(id="back", release=service.release("9.9"), back=number, by="ann@desk")
    return service.guest.run(wish, mode=mode)


def kept(service: Service) -> list[tuple[str, bool, bool]]:
    found = json.loads(back(service, 0).resources[0].detail)
    return [(one["version"], one["passed"], one["current"]) for one in found]


def deployed(service: Service, *versions: str) -> None:
    for version in versions:
        service.guest.run(service.release(version))
        age = float(version)
        built = service.root / "releases" / f"{version}-hash" / ".complete"
        os.utime(built, (1_000_000 + age, 1_000_000 + age))


def test_back_to_the_release_before_and_the_next_look_says_so(service: Service) -> None:
    deployed(service, "1.0", "2.0", "3.0")
    assert kept(service) == [("3.0-hash", True, True), ("2.0-hash", True, False), ("1.0-hash", True, False)]
    look = back(service, 1, "check")
    assert (look.resources[0].outcome, look.resources[0].detail) == ("would-change", "3.0-hash -> 2.0-hash")
    assert service.current == "3.0-hash", "a look changes nothing"
    before = service.restarts()
    report = back(service, 1)
    assert report.failed == "" and report.restarted == ("app.service",)
    assert service.current == "2.0-hash" and service.restarts() == before + 1
    detail = service.guest.run(service.release("3.0"), mode="check").resources[0].detail
    assert detail.startswith("2.0-hash -> 3.0-hash (rolled back from 3.0-hash by ann@desk, ")
    assert back(service, 1).failed == "" and service.current == "1.0-hash", "from there it goes on"
    assert outcomes(service.guest.run(service.release("3.0"))) == {"app": "changed"}
    assert service.current == "3.0-hash"
    assert outcomes(service.guest.run(service.release("3.0"))) == {"app": "unchanged"}


def test_two_back_leaves_out_what_never_was_healthy(service: Service) -> None:
    deployed(service, "1.0")
    service.sick = {"2.0-hash"}
    deployed(service, "2.0", "3.0")
    assert kept(service) == [("3.0-hash", True, True), ("2.0-hash", False, False), ("1.0-hash", True, False)]
    assert back(service, 1).failed == "" and service.current == "1.0-hash"


def test_a_release_that_is_sick_now_is_not_kept_to(service: Service) -> None:
    deployed(service, "1.0", "2.0")
    service.sick = {"1.0-hash"}
    report = back(service, 1)
    assert report.failed == "back"
    assert "returned to release 2.0-hash" in report.resources[0].detail
    assert "the journal of app" in report.resources[0].output
    assert service.current == "2.0-hash"
    assert outcomes(service.guest.run(service.release("2.0"))) == {"app": "unchanged"}


@pytest.mark.parametrize(("versions", "number"), [((), 1), (("1.0",), 1), (("1.0", "2.0"), 2)])
def test_no_further_back_than_there_are_releases(service: Service, versions: tuple[str, ...], number: int) -> None:
    deployed(service, *versions)
    before = service.restarts()
    report = back(service, number)
    assert report.failed == "back" and "before" in report.resources[0].detail
    assert service.restarts() == before
