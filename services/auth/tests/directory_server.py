"""A real directory: Debian's slapd, a process of the tests' own in a temporary folder, on loopback."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from auth_certificates import make_certificates

from tests.support.needs import need_program

BASE = "dc=zentoria,dc=test"
READER = f"cn=reader,{BASE}"
READER_PASSWORD = "reader secret"
# cn, uid, mail, password; the tests sign in with these
PEOPLE = (
    ("Ada Lovelace", "ada", "ada@zentoria.test", "analytical engine"),
    ("Grace Hopper", "grace", "Grace@Zentoria.Test", "nanoseconds"),
    ("Twin One", "twin1", "twin@zentoria.test", "twins"),
    ("Twin Two", "twin2", "twin@zentoria.test", "twins"),
    ("Star *", "star*(1)\\", "star@zentoria.test", "asterisk"),
)

_CONF = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCACertificateFile {folder}/ca.crt
TLSCertificateFile {folder}/server.crt
TLSCertificateKeyFile {folder}/server.key
security simple_bind={strength}
database mdb
maxsize 10485760
suffix "{base}"
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by * none
"""


@dataclasses.dataclass(frozen=True)
class DirectoryServer:
    """Where it listens, and what its certificate is signed by."""

    ldap: str
    ldaps: str
    ca_file: Path
    other_ca_file: Path


@contextlib.contextmanager
def running(folder: Path, names: tuple[str, ...] = ("127.0.0.1", "localhost")) -> Iterator[DirectoryServer]:
    """Run a directory with :data:`PEOPLE`, whose certificate is for ``names``."""
    (folder / "data").mkdir()
    make_certificates(folder, names)
    # A simple bind without TLS is refused by the server itself, so that a client that sends one is found out.
    (folder / "slapd.conf").write_text(_CONF.format(folder=folder, base=BASE, reader=READER, strength=128))
    (folder / "people.ldif").write_text(_ldif())
    slapd, slapadd = need_program("slapd"), need_program("slapadd")
    subprocess.run(
        [slapadd, "-f", folder / "slapd.conf", "-l", folder / "people.ldif"],
        check=True,
        capture_output=True,
        timeout=60,
    )
    plain, secure = _free_port(), _free_port()
    urls = f"ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{secure}"
    with (folder / "slapd.log").open("wb") as log:
        process = subprocess.Popen(
            [slapd, "-f", folder / "slapd.conf", "-h", urls, "-d", "0"],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_for(secure, process)
            yield DirectoryServer(
                f"ldap://127.0.0.1:{plain}", f"ldaps://127.0.0.1:{secure}", folder / "ca.crt", folder / "other-ca.crt"
            )
        finally:
            process.terminate()
            process.wait(30)


def _ldif() -> str:
    entries = [
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Zentoria\ndc: zentoria",
        f"dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: reader\n"
        f"userPassword: {READER_PASSWORD}",
    ]
    entries += [
        f"dn: cn={name},{BASE}\nobjectClass: inetOrgPerson\ncn: {name}\nsn: {name.split()[-1]}\n"
        f"uid: {uid}\nmail: {mail}\nuserPassword: {password}"
        for name, uid, mail, password in PEOPLE
    ]
    return "\n\n".join(entries) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"slapd ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("slapd does not listen after a minute")
