"""Who runs PostgreSQL when we are root, and how that user reaches its folders and nobody else does.

No account is created and no folder is opened to everyone: a numeric user that no account has owns the data, and
each closed parent folder gets one access-control entry that lets this user, and only it, pass through.
"""

import fcntl
import os
import pwd
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libs.common.runtime.child_process import StartRefused

PREFERRED_UID = 54320
_ACL = "system.posix_acl_access"
_VERSION, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY_IN_PARTICULAR = 0xFFFFFFFF
_SEARCH = 1


def choose_uid(data: Path) -> int:
    """The owner of `data` when it is already unprivileged, else a free numeric user."""
    if data.exists() and (owner := data.stat().st_uid) != 0:
        return owner
    for uid in range(PREFERRED_UID, PREFERRED_UID + 100):
        if _is_mapped(uid) and not _has_account(uid):
            return uid
    return account_for_initdb().pw_uid


def account_for_initdb() -> pwd.struct_passwd:
    """An existing unprivileged account: `initdb` insists on a name for the user it runs as."""
    accounts = [account for account in pwd.getpwall() if account.pw_uid != 0]
    for account in sorted(accounts, key=lambda account: account.pw_name != "nobody"):
        if _is_mapped(account.pw_uid):
            return account
    raise StartRefused(
        "PostgreSQL refuse de tourner sous root et cette machine n'a aucun autre compte. "
        "Créez-en un (useradd espace) et relancez sous ce compte."
    )


def let_pass(path: Path, uid: int) -> None:
    """Let `uid` traverse every parent of `path`, adding an entry for it alone where one is closed."""
    for folder in reversed(path.absolute().parents):
        status = folder.stat()
        if not (_can_search(status, uid) or _has_entry(folder, uid)):
            with _alone_with(folder):
                _add_entry(folder, stat.S_IMODE(status.st_mode), uid)


def can_reach(path: Path, uid: int) -> bool:
    """Whether `uid` may traverse every parent of `path`."""
    folders = path.absolute().parents
    return all(_can_search(folder.stat(), uid) or _has_entry(folder, uid) for folder in folders)


def _can_search(status: os.stat_result, uid: int) -> bool:
    if status.st_uid == uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == uid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


@contextmanager
def _alone_with(folder: Path) -> Iterator[None]:
    """Two that start at once must not each write back what they read before the other."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _raw_entries(folder: Path) -> bytes | None:
    try:
        return os.getxattr(folder, _ACL)
    except OSError:
        return None


def _entries(folder: Path) -> list[tuple[int, int, int]]:
    raw = _raw_entries(folder) or b""
    return [_ENTRY.unpack_from(raw, at) for at in range(_VERSION.size, len(raw), _ENTRY.size)]


def _has_entry(folder: Path, uid: int) -> bool:
    """Whether an entry lets `uid` pass, and the mask, which any chmod rewrites, leaves it its right."""
    entries = _entries(folder)
    mask = next((rights for tag, rights, _ in entries if tag == _MASK), _SEARCH)
    return any(tag == _USER and who == uid and rights & mask & _SEARCH for tag, rights, who in entries)


def _add_entry(folder: Path, mode: int, uid: int) -> None:
    entries = _entries(folder) or [
        (_USER_OBJ, mode >> 6 & 7, _NOBODY_IN_PARTICULAR),
        (_GROUP_OBJ, mode >> 3 & 7, _NOBODY_IN_PARTICULAR),
        (_OTHER, mode & 7, _NOBODY_IN_PARTICULAR),
    ]
    entries = [entry for entry in entries if entry[0] != _MASK and entry[::2] != (_USER, uid)]
    entries.append((_USER, _SEARCH, uid))
    granted = 0
    for tag, rights, _ in entries:
        granted |= rights if tag in (_USER, _GROUP_OBJ) else 0
    entries.append((_MASK, granted, _NOBODY_IN_PARTICULAR))
    packed = _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in sorted(entries, key=_kernel_order))
    try:
        os.setxattr(folder, _ACL, packed)
    except (OSError, AttributeError) as error:
        raise StartRefused(
            f"PostgreSQL tourne sous l'utilisateur {uid}, qui ne peut pas traverser {folder}, et ce système de "
            "fichiers n'accepte pas d'exception pour lui seul. Choisissez un autre dossier (--data /var/lib/espace), "
            "ou lancez Espace sous un compte ordinaire."
        ) from error


def _kernel_order(entry: tuple[int, int, int]) -> tuple[int, int]:
    return entry[0], entry[2]


def _is_mapped(uid: int) -> bool:
    """False for a user that this user namespace (a rootless container) does not know."""
    ranges = list(_mapped_ranges())
    return not ranges or any(first <= uid < first + count for first, count in ranges)


def _mapped_ranges() -> Iterator[tuple[int, int]]:
    path = Path("/proc/self/uid_map")
    if path.exists():
        for line in path.read_text().splitlines():
            first, _, count = (int(word) for word in line.split())
            yield first, count


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
