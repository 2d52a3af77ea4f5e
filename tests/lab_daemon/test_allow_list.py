"""The proxy's allow-list comes from the machine's own package configuration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentoria_infra.lab.network import allow_list

SOURCES = """\
Types: deb
# URIs: http://commented.example/debian
URIs: http://mirror.example/debian
  https://second.example:8443/debian
Suites: trixie

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: trixie

Types: deb deb-src
uris: file:/srv/local cdrom:[x]/ http://THIRD.example./security
Suites: trixie-security
"""

LIST = """\
# deb http://commented.example/debian stable main
deb [arch=amd64 signed-by=/x.gpg] https://keys.example/apt stable main # http://tail.example
deb-src http://source.example/debian stable main
not a source http://other.example/
"""


def test_sources_of_apt_in_both_forms() -> None:
    urls = allow_list.urls_of_apt({"debian.sources": SOURCES, "more.list": LIST, "old.list.disabled": LIST})
    found = allow_list.from_urls(urls)
    assert found.pairs == {
        ("mirror.example", 80), ("second.example", 8443), ("third.example", 80), ("keys.example", 443),
        ("source.example", 80),
    }  # fmt: skip


def test_indexes_of_pip_and_npm() -> None:
    pip = "[global]\nindex-url = https://user:word@index.example/simple\n[install]\nextra-index-url =\n  https://b.example\n"
    assert allow_list.from_urls(allow_list.urls_of_pip(pip)).hosts == ("b.example", "index.example")
    npm = "//x.example/:_authToken=abc\nregistry=https://npm.example/\n@own:registry = https://own.example/\n"
    assert allow_list.from_urls(allow_list.urls_of_npm(npm)).hosts == ("npm.example", "own.example")


def test_hosts_given_by_hand() -> None:
    found = allow_list.from_urls((), ["plain.example", "port.example:8080"])
    assert found.pairs == {("plain.example", 80), ("plain.example", 443), ("port.example", 8080)}


@pytest.mark.parametrize(
    ("host", "port", "may"),
    [
        ("mirror.example", 80, True),
        ("MIRROR.example.", 80, True),
        ("mirror.example", 443, False),
        ("mirror.example", 22, False),
        ("mirror.example.evil.example", 80, False),
        ("xmirror.example", 80, False),
        ("127.0.0.1", 80, False),
        ("", 80, False),
    ],
)
def test_only_host_and_port_together_are_let_through(host: str, port: int, may: bool) -> None:
    assert allow_list.from_urls(["http://mirror.example/debian"]).permits(host, port) is may


def test_proxies_of_apt() -> None:
    dump = 'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::https::Proxy "DIRECT";\nAcquire "";\n'
    assert allow_list.apt_proxy(dump) == {"http": "http://proxy.example:3128"}


@given(st.text(max_size=200))
def test_no_file_breaks_it(text: str) -> None:
    urls = allow_list.urls_of_apt({"a.sources": text, "b.list": text})
    urls += allow_list.urls_of_pip(text) + allow_list.urls_of_npm(text)
    assert all(host for host, _ in allow_list.from_urls(urls).pairs)
