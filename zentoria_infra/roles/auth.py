"""Container 409: sign-in, and the authorization server of OAuth."""

from __future__ import annotations

import json
from collections.abc import Mapping

from zentoria_infra.guest.state import File
from zentoria_infra.inventory.model import Inventory, Service
from zentoria_infra.roles.kit.fragment import Context, file
from zentoria_infra.roles.kit.python_service import python_service

SETTINGS = "/etc/zentoria/auth"
USUAL = ("github", "google", "microsoft")
"""Providers whose secrets the service declares, whether a site has them or not."""
JWT_KEY, JWT_PREVIOUS_KEY = "zentoria/jwt/secret_key", "zentoria/jwt/previous_key"
"""The key that signs access tokens, and the one before it: tokens that it signed are good for 15 minutes more."""
LDAP_PASSWORD = "zentoria/ldap/bind_password"  # noqa: S105 - where it is


def _listed(inventory: Inventory) -> Mapping[str, str]:
    """Paths of the providers' secrets, by the names of their files: ``providers.json`` says where each is."""
    paths = {name: f"zentoria/oauth/{name}_client_secret" for name in USUAL}
    paths |= {one.name: one.secret_path for one in inventory.site.sign_in.providers}
    return {f"{name}_client_secret": path for name, path in sorted(paths.items())}


def _variables(context: Context, service: Service) -> Mapping[str, object]:
    site = context.inventory.site
    variables: dict[str, object] = {
        "ZENTORIA_PUBLIC_URL": site.public_url,
        "ZENTORIA_PROVIDERS_FILE": f"{SETTINGS}/providers.json",
        "ZENTORIA_OAUTH_DYNAMIC_REGISTRATION": str(site.sign_in.dynamic_registration).lower(),
        "ZENTORIA_OAUTH_CLIENT_HOSTS": ",".join(site.sign_in.client_hosts),
        "ZENTORIA_OUTBOUND_ALLOW": ",".join(site.sign_in.outbound),
    }
    if ldap := site.sign_in.ldap:
        variables |= {
            "ZENTORIA_LDAP_URL": ldap.url,
            "ZENTORIA_LDAP_START_TLS": str(ldap.url.startswith("ldap://")).lower(),
            "ZENTORIA_LDAP_BASE_DN": ldap.base_dn,
            "ZENTORIA_LDAP_TRUST_MAIL": str(ldap.trust_mail).lower(),
        }
        if ldap.ca is not None:
            variables["ZENTORIA_LDAP_CA_FILE"] = f"{SETTINGS}/ldap-ca.pem"
        if ldap.bind_dn is not None:
            variables["ZENTORIA_LDAP_BIND_DN"] = ldap.bind_dn
        if ldap.user_filter is not None:
            variables["ZENTORIA_LDAP_USER_FILTER"] = ldap.user_filter
    return variables


def _files(context: Context, service: Service) -> tuple[File, ...]:
    """The providers whose secret is there, and what the directory's certificate is held against."""
    sign_in = context.inventory.site.sign_in
    listed = [
        {
            **one.model_dump(mode="json", exclude_none=True),
            "client_secret_file": f"{SETTINGS}/{one.name}_client_secret",
        }
        for one in sign_in.providers
        if context.supplied(one.secret_path) is not None
    ]
    found = [file(f"{SETTINGS}/providers.json", f"{json.dumps(listed, indent=2)}\n", mode="0640", group="zentoria")]
    if sign_in.ldap is not None and sign_in.ldap.ca is not None:
        found.append(file(f"{SETTINGS}/ldap-ca.pem", f"{sign_in.ldap.ca.rstrip()}\n"))
    return tuple(found)


ROLE = python_service(
    "auth",
    title="sign-in",
    uses=("database", "redis"),
    variables=_variables,
    secrets={"jwt_key": JWT_KEY, "seal_key": "zentoria/auth/seal_key"},
    kinds={"jwt_key": "ec-keypair"},
    supplied={"jwt_previous_key": JWT_PREVIOUS_KEY, "ldap_bind_password": LDAP_PASSWORD},
    listed=_listed,
    files=_files,
    identity=True,
)
