"""Privileges and the roles that come with Proxmox (PVE::AccessControl)."""

from __future__ import annotations

_VM = (
    "VM.Allocate VM.Audit VM.Backup VM.Clone VM.Config.CDROM VM.Config.CPU VM.Config.Cloudinit VM.Config.Disk "
    "VM.Config.HWType VM.Config.Memory VM.Config.Network VM.Config.Options VM.Console VM.Migrate VM.Monitor "
    "VM.PowerMgmt VM.Snapshot VM.Snapshot.Rollback"
)
_STORE = "Datastore.Allocate Datastore.AllocateSpace Datastore.AllocateTemplate Datastore.Audit"
_SYS = "Sys.AccessNetwork Sys.Audit Sys.Console Sys.Incoming Sys.Modify Sys.PowerMgmt Sys.Syslog"
_OTHER = (
    "Group.Allocate Mapping.Audit Mapping.Modify Mapping.Use Permissions.Modify Pool.Allocate Pool.Audit "
    "Realm.Allocate Realm.AllocateUser SDN.Allocate SDN.Audit SDN.Use User.Modify"
)
NEW_IN_9 = frozenset(
    [
        "VM.GuestAgent.Audit",
        "VM.GuestAgent.FileRead",
        "VM.GuestAgent.FileSystemMgmt",
        "VM.GuestAgent.FileWrite",
        "VM.GuestAgent.Unrestricted",
        "VM.Replicate",
    ]
)
GONE_IN_9 = frozenset({"VM.Monitor"})

_PVE_8 = frozenset(f"{_VM} {_STORE} {_SYS} {_OTHER}".split())
ALL = _PVE_8 | NEW_IN_9
"""Every privilege of either release; ``of_release`` says which of them one release has."""


def of_release(major: int) -> frozenset[str]:
    """The privileges of a major release (8 or 9)."""
    return _PVE_8 if major < 9 else (ALL - GONE_IN_9)


def builtin_roles(major: int) -> dict[str, frozenset[str]]:
    """Roles that exist without being made, and cannot be changed."""
    privileges = of_release(major)
    vm = {name for name in privileges if name.startswith("VM.")}
    user = set(
        ["VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.PowerMgmt", "VM.Monitor"]
    ) & set(privileges)
    audit = {name for name in privileges if name.endswith(".Audit")}
    roles: dict[str, set[str]] = {
        "Administrator": set(privileges),
        "NoAccess": set(),
        "PVEAdmin": set(privileges)
        - {"Permissions.Modify", "Realm.Allocate", "Sys.Modify", "Sys.PowerMgmt", "Sys.Incoming", "Sys.AccessNetwork"},
        "PVEAuditor": audit,
        "PVEDatastoreAdmin": set(_STORE.split()),
        "PVEDatastoreUser": {"Datastore.AllocateSpace", "Datastore.Audit"},
        "PVEMappingAdmin": {"Mapping.Audit", "Mapping.Modify", "Mapping.Use"},
        "PVEMappingAuditor": {"Mapping.Audit"},
        "PVEMappingUser": {"Mapping.Audit", "Mapping.Use"},
        "PVEPoolAdmin": {"Pool.Allocate", "Pool.Audit"},
        "PVEPoolUser": {"Pool.Audit"},
        "PVESDNAdmin": {"SDN.Allocate", "SDN.Audit", "SDN.Use"},
        "PVESDNUser": {"SDN.Audit", "SDN.Use"},
        "PVESysAdmin": {"Sys.Audit", "Sys.Console", "Sys.Syslog"},
        "PVETemplateUser": {"VM.Audit", "VM.Clone"},
        "PVEUserAdmin": {"Group.Allocate", "Realm.AllocateUser", "User.Modify"},
        "PVEVMAdmin": vm,
        "PVEVMUser": user,
    }
    if major >= 9:  # as 9.2 answers
        roles["PVEAdmin"] -= {"Mapping.Modify"}
        roles["PVEVMUser"] |= NEW_IN_9 - {"VM.GuestAgent.Unrestricted", "VM.Replicate"}
        del roles["PVEMappingAuditor"]
    return {name: frozenset(members) for name, members in roles.items()}
