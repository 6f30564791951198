"""Where the project's own files are, and where what it makes goes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import convstream

# In a checkout these folders lie at its top, installed inside the package.
PACKAGE = Path(__file__).resolve().parents[2]
RTL = PACKAGE / "rtl"
FPGA = PACKAGE / "fpga"
SHIPPED = PACKAGE / "mem"
# What Python must search to find the package.
IMPORTS = Path(convstream.__file__).resolve().parents[1]

IN_CHECKOUT = (PACKAGE / "pyproject.toml").is_file()
HOME = PACKAGE if IN_CHECKOUT else Path.cwd()
BUILD = HOME / "build"
DATA = HOME / "data"
MEM = HOME / "mem"


def folders_of(network: str) -> list[Path]:
    """Where a network of that name may lie: the user's own comes before the one shipped."""
    return list(dict.fromkeys((MEM / network, SHIPPED / network)))


def networks(file: str) -> list[str]:
    """Names of the folders in mem/, of the user and shipped, that hold `file`."""
    return sorted({path.parent.name for room in (MEM, SHIPPED) for path in room.glob(f"*/{file}")})


def label(folder: Path, name: str) -> str:
    """What the folders in build/ are called of the network `name` that lies in `folder`.

    Networks in mem/ go by their own name. Others have part of their path's hash behind it, so that
    two of one name do not meet.
    """
    folder = folder.resolve()
    if folder in [path.resolve() for path in folders_of(name)]:
        return name
    return f"{name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def extra(name: str) -> str:
    """The command that installs an optional part of the project."""
    return f"pip install -e '.[{name}]'" if IN_CHECKOUT else f"pip install 'convstream[{name}]'"
