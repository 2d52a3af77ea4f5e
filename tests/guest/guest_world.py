"""A guest that is a folder: the agent runs in it as this user, with fake commands first on its PATH."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from zentoria_infra.guest import bundle, protocol
from zentoria_infra.guest.state import GuestReport, GuestState, Resource

ME = {
    "owner": __import__("pwd").getpwuid(os.getuid()).pw_name,
    "group": __import__("grp").getgrgid(os.getgid()).gr_name,
}


class Pipe:
    """A channel over a subprocess."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )

    @property
    def stderr(self) -> bytes:
        return self.process.stderr.read() if self.process.poll() is not None else b""

    def write(self, data: bytes, /) -> None:
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read_line(self, timeout: float | None = None) -> bytes:
        return self.process.stdout.readline()

    def close(self) -> int:
        code = self.process.wait(30)
        return code

    def abandon(self) -> None:
        """End where the other side may be gone, with input unread."""
        try:
            self.end()
        except BrokenPipeError:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.stderr.close()
            self.process.wait(30)

    def end(self) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        self.process.wait(30)


class Guest:
    """A folder that stands in for a guest: fake commands come first on PATH and note what they are asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        self.log = root / "commands"
        self.blobs: dict[str, Path] = {}
        self.environment = {
            "PATH": os.environ["PATH"],
            "ZENTORIA_AGENT_STATE": str(root / "state"),
            "ZENTORIA_AGENT_POLICY": str(root / "policy-rc.d"),
            "ZENTORIA_AGENT_BOOT": str(root / "boot_id"),
            "ZENTORIA_AGENT_PATH": f"{self.bin}:{os.environ['PATH']}",
        }
        (root / "boot_id").write_text("first\n")
        self.fake("systemctl", "exit 0")
        self.fake("dpkg-query", "exit 1")
        self.fake("sync", "exit 0")

    def fake(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.log}\n{script}\n')
        path.chmod(0o755)

    def commands(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def path(self, sha256: str) -> Path:
        return self.blobs[sha256]

    def add_blob(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        self.blobs[name] = self.root / f"blob-{name[:8]}"
        self.blobs[name].write_bytes(content)
        return name

    def pipe(self) -> Pipe:
        return Pipe([sys.executable, "-I", "-c", bundle._LOADER], self.environment)

    def pipe_of(self, argv: list[str], environment: dict[str, str]) -> Pipe:
        return Pipe(argv, environment)

    def run(
        self,
        *resources: Resource,
        mode: protocol.Mode = "apply",
        heard: protocol.Heard = lambda e: None,
        key: bytes = b"",
        whole: bool | None = None,
    ) -> GuestReport:
        """Have the agent look or apply; a state with a way back in it is not whole."""
        whole = all(one.kind != "rollback" for one in resources) if whole is None else whole
        pipe = self.pipe()
        try:
            return protocol.converge(pipe, state(*resources, whole=whole), self, mode, heard, key)
        finally:
            pipe.end()


def state(*resources: Resource, whole: bool = True) -> GuestState:
    return GuestState(vmid=404, hostname="zentoria-db", resources=resources, whole=whole)


def outcomes(report: GuestReport) -> dict[str, str]:
    return {one.id: one.outcome for one in report.resources}
