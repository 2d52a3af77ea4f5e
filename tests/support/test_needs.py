"""What may be skipped in CI."""

import types

import pytest

from tests.support import needs


@pytest.mark.parametrize(
    ("reason", "as_root", "marks", "excused"),
    [
        ("Skipped: nginx is not installed", True, set(), False),
        ("Skipped: no reference data: /x is not there", False, set(), False),
        ("needs root's lxc-start", True, {"lxc"}, False),
        ("real guests need lxc-start", False, {"lxc"}, True),
        ("network namespaces need root", False, set(), True),
        ("network namespaces need root", True, set(), False),
        ("root reads everything", True, set(), True),
        ("Skipped: needs nginx 1.25.1 or newer, here is 1.22.1", True, set(), True),
    ],
)
def test_what_may_be_skipped_in_ci(reason: str, as_root: bool, marks: set[str], excused: bool) -> None:
    assert needs.is_excused(reason, as_root=as_root, marks=marks) is excused


def test_a_skip_becomes_an_error_that_says_why() -> None:
    item = types.SimpleNamespace(iter_markers=lambda: iter(()))
    for outcome, reason, expected in (
        ("skipped", "Skipped: nginx is not installed", "failed"),
        ("skipped", "Skipped: root reads everything", "skipped"),
        ("passed", "", "passed"),
    ):
        longrepr = ("x.py", 1, reason) if reason else None
        report = pytest.TestReport("x.py::x", ("x.py", 1, "x"), {}, outcome, longrepr, "call")  # type: ignore[arg-type] # its literal
        needs.as_error(item, report)  # type: ignore[arg-type] # it has what is asked for
        assert report.outcome == expected
        if expected == "failed":
            assert "nginx is not installed\nIn CI" in str(report.longrepr)


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs.need_program("sh").endswith("/sh")
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        needs.need_program("sh", "no-such-program")
    with pytest.raises(pytest.skip.Exception, match=r"no reference data: .*shared/none/at-all is not there"):
        needs.need_shared("none", "at-all")
