"""What holds for the state of every guest."""

from __future__ import annotations

import pytest

from tests.roles.roles_support import CANARY, FixedMaterials, context, files, inventory, state, text, units
from zentoria_infra.errors import InventoryError
from zentoria_infra.guest.state import Command, File, GuestState, Health, Packages, Release, Unit, User, Volume
from zentoria_infra.roles.catalog import installs, unbuilt
from zentoria_infra.roles.compile import compile_guest
from zentoria_infra.roles.kit.fragment import Fragment, directory, file
from zentoria_infra.roles.kit.rendering import Templates

NAMES = [container.name for container in inventory().containers]
OWN_ROLES = {"ai", "auth", "backend", "db", "embeddings", "files", "ocr", "proxy", "redis", "voice"}
OWN_ROLES |= {"frontend"}


@pytest.fixture(params=NAMES)
def guest(request: pytest.FixtureRequest) -> GuestState:
    return state(request.param)


def test_seventeen_containers() -> None:
    assert len(NAMES) == 17


def test_equal_inputs_make_equal_states(guest: GuestState) -> None:
    assert state(str(guest.vmid)).digest() == guest.digest()


def test_ids_are_unique_and_paths_too(guest: GuestState) -> None:
    ids = [one.id for one in guest.resources]
    assert len(ids) == len(set(ids))
    paths = [one.path for one in guest.resources if one.kind in ("file", "directory", "symlink", "absent", "volume")]
    assert len(paths) == len(set(paths))
    names = [one.name for one in guest.resources if isinstance(one, Unit)]
    assert len(names) == len(set(names))


def test_units_read_what_exists_before_them(guest: GuestState) -> None:
    seen: set[str] = set()
    for one in guest.resources:
        if isinstance(one, Unit):
            assert set(one.reloads) <= set(one.reads) <= seen, one.name
        seen.add(one.id)


def test_drop_ins_are_read_by_their_unit(guest: GuestState) -> None:
    by_name = units(guest)
    for path, one in files(guest).items():
        if path.startswith("/etc/systemd/system/"):
            name = path.removeprefix("/etc/systemd/system/").partition("/")[0].removesuffix(".d")
            if name == "zentoria-address.service":  # of no use after a start
                continue
            if name not in by_name:  # a timer starts it
                name = f"{name.removesuffix('.service')}.timer"
            assert one.id in by_name[name].reads


def test_what_packages_need_is_before_and_all_else_after_them(guest: GuestState) -> None:
    kinds = [one.kind for one in guest.resources]
    assert kinds.count("packages") == 1
    at = kinds.index("packages")
    assert set(kinds[:at]) <= {"file", "absent", "symlink"}
    packages = guest.resources[at]
    assert isinstance(packages, Packages)
    assert list(packages.names) == sorted(set(packages.names))
    rest = [one for one in guest.resources[at + 1 :] if isinstance(one, (User, Volume))]
    assert list(guest.resources[at + 1 : at + 1 + len(rest)]) == rest


def test_volumes_of_the_inventory_are_in_the_state(guest: GuestState) -> None:
    wanted = {volume.path for volume in inventory().by_vmid(guest.vmid).volumes}
    assert {one.path for one in guest.resources if isinstance(one, Volume)} == wanted


def test_no_secret_outside_of_what_is_flagged(guest: GuestState) -> None:
    for one in guest.resources:
        if CANARY in one.model_dump_json():
            assert isinstance(one, (File, Command))
            assert one.secret
            if isinstance(one, File):
                assert one.mode == "0600"
            else:
                assert CANARY not in " ".join((*one.check, *one.apply, one.id))


def test_no_service_password_reaches_a_container_that_has_no_use_for_it() -> None:
    for name in set(NAMES) - OWN_ROLES:
        materials = FixedMaterials()
        state(name, materials=materials)
        assert materials.secrets.asked == set()
    materials = FixedMaterials()
    state("backend", materials=materials)
    assert materials.secrets.asked == {
        "zentoria/db/backend_password",
        "zentoria/identity/backend",
        "zentoria/identity/embeddings",  # of which the public half is in the state
        "zentoria/minio/backend_secret_key",
        "zentoria/redis/backend_password",
    }
    assert CANARY not in state("db").model_dump_json()  # only verifiers
    assert "Canary-" in state("backend").model_dump_json()


def test_containers_without_a_role_of_their_own_have_the_base_alone() -> None:
    for name in set(NAMES) - OWN_ROLES:
        guest = state(name)
        packages = next(one for one in guest.resources if isinstance(one, Packages))
        assert packages.names == ("prometheus-node-exporter", "tzdata")
        assert not any(isinstance(one, Release) for one in guest.resources)
    assert unbuilt(inventory().by_name("backend")) == ("log-shipper",)
    assert "main" in unbuilt(inventory().by_name("n8n"))


def test_every_service_with_a_role_has_its_health_asked() -> None:
    for container in inventory().containers:
        guest = compile_guest(inventory(), container, FixedMaterials())
        checks = {one.id for one in guest.resources if isinstance(one, Health)}
        for service in container.services:
            assert (f"health:{service.name}" in checks) == (installs(service) and service.health is not None)


def test_a_nonce_changes_the_release_and_nothing_else() -> None:
    plain, again = state("backend"), state("backend", nonce="n1")
    changed = [new for old, new in zip(plain.resources, again.resources, strict=True) if old != new]
    assert [one.kind for one in changed] == ["release"]
    assert state("redis", nonce="n1") == state("redis")


def test_files_end_with_a_line_break(guest: GuestState) -> None:
    for path, one in files(guest).items():
        assert one.text is None or one.text == "" or one.text.endswith("\n"), path
        assert "{{" not in (one.text or ""), path


def test_two_services_of_one_component_are_refused() -> None:
    redis = {"component": "redis", "exposes": {"redis": {"port": 6380, "kind": "api"}}, "unit": "redis-2.service",
             "source": {"kind": "apt", "packages": ["redis-server"]}}  # fmt: skip
    with pytest.raises(InventoryError, match="want the same thing"):
        state("redis", overrides={"containers": {"redis": {"services": {"second": redis}}}})


def test_a_component_from_elsewhere_is_refused_with_its_place() -> None:
    source = {"kind": "pypi", "package": "redis-server", "version": "6"}
    with pytest.raises(InventoryError) as caught:
        state("redis", overrides={"components": {"redis": source}})
    assert "410-redis.yaml:" in str(caught.value)
    assert "comes from 'pypi'" in str(caught.value)


def test_a_template_with_an_unknown_name_or_a_second_line_in_a_value_is_an_error() -> None:
    render = Templates(inventory().root)
    with pytest.raises(InventoryError, match="undefined"):
        render("base/hosts")
    with pytest.raises(InventoryError, match="control character"):
        render("base/apt.conf", proxy='http://p";\nDPkg::Pre-Invoke {"x";};')
    with pytest.raises(InventoryError, match="TemplateNotFound"):
        render("base/no-such-file")


def test_merging_keeps_one_of_equal_folders() -> None:
    from zentoria_infra.roles.compile import merge

    both = [Fragment(main=(directory("/etc/zentoria"), file("/a", "")))] * 1 + [
        Fragment(main=(directory("/etc/zentoria"), file("/b", "")))
    ]
    assert [one.id for one in merge(both, ())] == ["packages", "directory:/etc/zentoria", "file:/a", "file:/b"]


def test_context_gives_the_address() -> None:
    assert context("redis").address == "10.10.41.0"
    assert text(state("redis"), "/etc/hostname") == "zentoria-redis\n"


def test_the_units_that_are_declared_are_those_that_the_roles_make() -> None:
    """Else a service that runs would be told as one that is not there."""
    for container in inventory().containers:
        made = units(state(container.name))
        for service in container.services:
            if service.unit and service.name not in unbuilt(container):
                assert service.unit in made, (container.name, service.name)
