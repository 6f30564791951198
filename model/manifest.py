"""`network.json`: what export made of a network, and the SHA-256 that proves its files whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from model.errors import UserError

FILE_NAME = "network.json"
_KEYS = ("name", "input_shape", "classes", "pixels_per_beat", "layers", "cycles", "files")


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_text(manifest: dict[str, Any]) -> str:
    """Text of `network.json`."""
    return json.dumps(manifest, indent=2) + "\n"


def read(folder: str | Path) -> dict[str, Any]:
    """The manifest of an exported network. Raises `UserError` where it is missing or damaged."""
    path = Path(folder) / FILE_NAME
    remedy = "run model/export.py for this network"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} is missing; {remedy}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is truncated or altered ({error}); {remedy}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files", {}), dict):
        raise UserError(f"{path} is no description of a network; {remedy}")
    missing = [key for key in _KEYS if key not in manifest]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {remedy}")
    return manifest


def verify(folder: str | Path, manifest: dict[str, Any] | None = None) -> dict[str, Any]:
    """The manifest, after checking that every file it names is there and unaltered.

    Raises `UserError` naming the first file that is missing, truncated or altered.
    """
    folder = Path(folder)
    manifest = read(folder) if manifest is None else manifest
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing; restore it or run model/export.py again")
        if sha256(path) != expected:
            raise UserError(
                f"{path} is truncated or altered: its SHA-256 is not the one in "
                f"{folder / FILE_NAME}; restore it or run model/export.py again"
            )
    return manifest
