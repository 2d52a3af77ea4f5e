from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from zentoria_backend.settings import Settings, load_secrets, load_settings
from zentoria_common.settings import SettingsError, unknown_variables

GOOD = {
    "ZENTORIA_DATABASE_HOST": "10.10.40.4",
    "ZENTORIA_DATABASE_USER": "backend",
    "ZENTORIA_REDIS_HOST": "10.10.41.0",
    "ZENTORIA_REDIS_USER": "backend",
    "ZENTORIA_S3_ENDPOINT": "http://10.10.40.7:9000",
    "ZENTORIA_S3_ACCESS_KEY": "backend",
}


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_architectures_ports_and_database_are_the_defaults(good: pytest.MonkeyPatch) -> None:
    loaded = load_settings()
    assert (loaded.http_port, loaded.websocket_port) == (4000, 4001)
    assert (loaded.database_port, loaded.database_name, loaded.redis_port) == (6432, "zentoria_core", 6379)


def test_every_wrong_variable_is_named_in_one_line(good: pytest.MonkeyPatch) -> None:
    good.delenv("ZENTORIA_DATABASE_HOST")
    good.setenv("ZENTORIA_HTTP_PORT", "70000")
    good.setenv("ZENTORIA_REDIS_HOST", "redis://user:hunter2@host")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    text = str(caught.value)
    assert "ZENTORIA_DATABASE_HOST: not set" in text
    assert "ZENTORIA_HTTP_PORT: input should be less than or equal to 65535" in text
    assert "ZENTORIA_REDIS_HOST" in text
    assert "\n" not in text
    assert "hunter2" not in text


def test_a_password_in_the_environment_is_refused(good: pytest.MonkeyPatch) -> None:
    good.setenv("ZENTORIA_REDIS_PASSWORD", "hunter2")
    with pytest.raises(SettingsError, match="ZENTORIA_REDIS_PASSWORD_FILE") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_passwords_come_from_files_else_from_credentials(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good.setenv("ZENTORIA_DATABASE_PASSWORD_FILE", str(secret(tmp_path / "elsewhere", "from-file\n")))
    secret(tmp_path / "database_password", "not this one")
    secret(tmp_path / "redis_password", "from credential")
    secret(tmp_path / "s3_secret_key", "from credential")
    secrets = load_secrets(load_settings(), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert secrets.database_password.get_secret_value() == "from-file"
    assert secrets.redis_password.get_secret_value() == "from credential"
    assert "from" not in repr(secrets)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: None, "No such file"),
        (lambda path: secret(path, "\n"), "is empty"),
        (lambda path: secret(path, "hunter2", 0o644), "readable by every user"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not UTF-8"),
    ],
)
def test_an_unusable_password_file_is_named(good: pytest.MonkeyPatch, tmp_path: Path, make, complaint: str) -> None:  # type: ignore[no-untyped-def] # lambdas
    make(tmp_path / "p")
    good.setenv("ZENTORIA_DATABASE_PASSWORD_FILE", str(tmp_path / "p"))
    with pytest.raises(SettingsError, match=f"ZENTORIA_DATABASE_PASSWORD_FILE: .*{complaint}") as caught:
        load_secrets(load_settings(), {})
    assert "hunter2" not in str(caught.value)


def test_no_file_and_no_credential(good: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="no credential database_password"):
        load_secrets(load_settings(), {})


def test_unknown_variables_are_reported_and_not_fatal() -> None:
    assert unknown_variables(Settings, {**GOOD, "ZENTORIA_FUTURE": "1", "HOME": "/"}) == ("ZENTORIA_FUTURE",)


def test_bad_settings_end_the_process_with_78_and_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from zentoria_backend.main import run; run()"],
        env={"ZENTORIA_HTTP_PORT": "many"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 78
    assert done.stdout == ""
    assert done.stderr.startswith("zentoria-backend: settings: ")
    assert len(done.stderr.splitlines()) == 1
    assert "ZENTORIA_HTTP_PORT" in done.stderr
