"""Replace folders as a whole: an interrupt, an error or a kill leaves the old content intact.

What a killed process leaves of its temporary folders, the next one removes.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from convstream.model.base.errors import UserError

LEAST_ROOM = 1 << 20  # bytes; with less, a file system counts as full
CLAIMS = 10
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A temporary folder in `parent`, removed at the end.

    Its process holds a lock on it. Folders of that prefix whose processes are gone are removed,
    too. Raises `OSError` where none can be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent, prefix)
    folder, lock = _claim(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _claim(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """A new folder and the descriptor that locks it, None on a file system without locks."""
    for _ in range(CLAIMS):
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = _lock(folder)
        if lock is not None and folder.is_dir():
            return folder, lock
        # Another process has taken it for one that was left.
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=parent)), None


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.iterdir():
        if folder.name.startswith(prefix):
            lock = _lock(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the lock on a folder; None where another has it, or it is gone."""
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def temporary() -> Path:
    """The system's folder for temporary files. Raises `UserError` where none can be written."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        raise UserError(
            "no folder for temporary files can be written; make room in /tmp, or set TMPDIR"
        ) from None


def check_room(*folders: Path) -> None:
    """Raise `OSError` where a file system is full: programs often fail in words of their own."""
    for folder in folders:
        if shutil.disk_usage(folder).free < LEAST_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, hence on the same file system; removed at the end."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch(target.parent, f".convstream-{target.name}-"))
        except OSError as error:
            raise UserError(
                f"cannot write beside {target}: {error.strerror}; choose another --out"
            ) from None
        yield folder


def put_in_place(
    folder: Path, target: Path, names: Collection[str], stale: Collection[str] = ()
) -> None:
    """Move the files `names` from `folder`, made by `staging`, to `target`; delete `stale` there.

    The new folder replaces the old one in a single step. Unchanged files are kept, times included,
    so whatever was built from them stays up to date.
    """
    changed = [name for name in names if not _same(folder / name, target / name)]
    if not changed and not any((target / name).is_file() for name in stale):
        return
    new, old = folder / "new", folder / "old"
    try:
        new.mkdir()
        if target.exists():
            shutil.copymode(target, new)
            for item in target.iterdir():
                if item.name not in changed and not (item.name in stale and item.is_file()):
                    _keep(item, new / item.name)
        for name in changed:
            (folder / name).replace(new / name)
        if not target.exists():
            new.rename(target)
        elif not _exchange(new, target):
            _replace(new, target, old)
    except OSError as error:
        raise UserError(
            f"cannot write to {target}: {error.strerror}; nothing was changed"
        ) from None


def _replace(new: Path, target: Path, old: Path) -> None:
    """`_exchange` in two steps: a kill between them leaves `old` and no target."""
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders atomically; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    return rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _keep(item: Path, copy: Path) -> None:
    """Link a file, or copy it where links are not possible; copy a folder."""
    if item.is_dir() and not item.is_symlink():
        shutil.copytree(item, copy, symlinks=True)
        return
    try:
        os.link(item, copy, follow_symlinks=False)
    except OSError:
        shutil.copy2(item, copy, follow_symlinks=False)
