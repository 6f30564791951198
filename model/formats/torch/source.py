"""What a command line calls a PyTorch network: `mymodule.py:MyNet(10, width=16)`, or a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from convstream.model.base.errors import UserError
from convstream.model.base.files import one_line, read_bytes

SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
"""What files of weights end in."""
MOST_SOURCE = 1 << 20  # bytes of a Python file


def is_torch(source: str) -> bool:
    """Whether that is what a command line's word means."""
    return source.endswith((".py", *SUFFIXES)) or ".py:" in source


@dataclass(frozen=True)
class Call:
    """What stands in the file `path` under `name`, perhaps called with literals."""

    path: Path
    name: str
    called: bool = False
    arguments: list[Any] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


def name_of(source: str) -> str:
    """What a network of that source is called: its class or its file, in small letters."""
    return (parse(source).name if ".py" in source else Path(source).stem).lower()


def what_to_type(source: str) -> str:
    """A line for who hands a float network to where int8 is expected."""
    if ".py" in source:
        parse(source)
        return (
            f"{source} is a float network; type: convstream export {source} --weights net.pt "
            "--calibrate images.npz"
        )
    if not Path(source).is_file():
        return f"{source}: no such file; expected a network"
    return (
        f"{source} is a file of PyTorch, which lacks the code of its network; type: convstream "
        f"export mymodule.py:MyNet --weights {source} --calibrate images.npz, or, if it is "
        f"TorchScript, convstream export {source} --calibrate images.npz"
    )


def parse(source: str) -> Call:
    """The parts of `FILE.py:NAME(...)`. Raises `UserError` where it is none."""
    file, _, text = source.removesuffix(".py").partition(".py:")
    path = Path(f"{file}.py")
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a Python file that holds the network")
    if not text:
        example = next(_classes(path), "MyNet")
        raise UserError(f"{path}: name the network in it, such as {path}:{example}")
    try:
        node = ast.parse(text.strip(), mode="eval").body
        name = node.func if isinstance(node, ast.Call) else node
        if not isinstance(name, ast.Name):
            raise ValueError
        if not isinstance(node, ast.Call):
            return Call(path, name.id)
        arguments = [ast.literal_eval(value) for value in node.args]
        options = {}
        for pair in node.keywords:
            if pair.arg is None:
                raise ValueError
            options[pair.arg] = ast.literal_eval(pair.value)
        return Call(path, name.id, True, arguments, options)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise UserError(
            f"{one_line(text)}: expected the name of a network in {path}, perhaps with literal "
            "arguments, such as MyNet(10, width=16)"
        ) from None


def _classes(path: Path) -> Iterator[str]:
    """Names of the classes in a file, as far as it can be parsed."""
    try:
        tree = ast.parse(read_bytes(path, MOST_SOURCE))
    except (SyntaxError, ValueError):
        return
    yield from (node.name for node in tree.body if isinstance(node, ast.ClassDef))
