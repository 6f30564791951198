"""Replace folders as a whole: an interrupt, an error or a kill leaves the old content intact."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convstream.model.base.errors import UserError

LEFT_S = 3600
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, hence on the same file system; removed at the end.

    Old ones that killed processes left behind are removed too.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(target)
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    except OSError as error:
        raise UserError(
            f"cannot write beside {target}: {error.strerror}; choose another --out"
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def _remove_left(target: Path) -> None:
    for folder in target.parent.glob(f"{_prefix(target)}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > LEFT_S:
                shutil.rmtree(folder, ignore_errors=True)


def _prefix(target: Path) -> str:
    return f".convstream-{target.name}-"
