"""From a source and a file of weights to a PyTorch module."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from torch import nn

from convstream.model.base.errors import UserError
from convstream.model.base.files import one_line, read_bytes
from convstream.model.formats.torch import weights as weight_files
from convstream.model.formats.torch.source import MOST_SOURCE, Call, parse


def load(source: str, weights: Path | None, trusted: bool) -> nn.Module:
    """The module that `source` stands for, with the weights of a file.

    source: `FILE.py:NAME`, where NAME is a class, a function that returns a module, or a module,
    perhaps with literal arguments; or a file of TorchScript or, where `trusted`, of a pickled
    module. weights: as `weights.read` takes them; None keeps those that the module is made with.
    FILE.py is run. Raises `UserError` where any of it fails.
    """
    if ".py" not in source:
        found = weight_files.read(Path(source), trusted)
        if not isinstance(found, nn.Module):
            weight_files.state_of(found, Path(source))
            raise UserError(
                f"{source} holds weights, but not the network that they belong to; type: "
                f"convstream export mymodule.py:MyNet --weights {source} --calibrate images.npz"
            )
        if weights is not None:
            raise UserError(f"{source} has its own weights; leave out --weights")
        return found
    call = parse(source)
    with _imported(call.path) as home:
        module = _made(source, call, home)
        if weights is not None:
            state = weight_files.state_of(weight_files.read(weights, trusted, home), weights)
            weight_files.fill(module, state, weights, source)
        elif isinstance(getattr(home, call.name), type):
            print(f"warning: {source} is untrained; give its --weights net.pt", file=sys.stderr)
    return module


@contextmanager
def blame(what: str, remedy: str, path: Path | None = None) -> Iterator[None]:
    """Turn whatever the user's code raises into a `UserError`, with its line in the file `path`."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # of the user's code: anything, also SystemExit
        frames = reversed(traceback.extract_tb(error.__traceback__))
        line = next((frame.lineno for frame in frames if frame.filename == str(path)), None)
        place = f", line {line}" if line else ""
        raise UserError(
            f"{what} ({type(error).__name__}{place}: {one_line(error)}); {remedy}"
        ) from None


@contextmanager
def _imported(path: Path) -> Iterator[ModuleType]:
    """The file as a module, which meanwhile can import its neighbours and be imported."""
    name = path.stem
    content = read_bytes(path, MOST_SOURCE)
    home = ModuleType(name)
    home.__file__ = str(path)
    before, places = sys.modules.get(name), sys.path[:]
    sys.modules[name] = home
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with blame(f"{path} cannot be imported", f"try: python {path}", path):
            exec(compile(content, str(path), "exec"), vars(home))
        yield home
    finally:
        sys.path[:] = places
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before


def _made(source: str, call: Call, home: ModuleType) -> nn.Module:
    """The module that a call gives."""
    found = getattr(home, call.name, None)
    if found is None:
        known = ", ".join(name for name, value in vars(home).items() if _is_network(value, home))
        raise UserError(f"{call.path} holds no {call.name}; networks in it: {known or 'none'}")
    if not isinstance(found, nn.Module) and callable(found):
        remedy = f"give it arguments, such as {call.path}:{call.name}(10, width=16)"
        with blame(f"{source} cannot be made", remedy, call.path):
            found = found(*call.arguments, **call.options)
    elif call.called:
        raise UserError(f"{source}: {call.name} takes no arguments; type {call.path}:{call.name}")
    if not isinstance(found, nn.Module):
        raise UserError(
            f"{source} is of type {type(found).__name__}, expected a torch.nn.Module, its class, "
            "or a function that returns one"
        )
    return found


def _is_network(value: object, home: ModuleType) -> bool:
    if isinstance(value, type):
        return issubclass(value, nn.Module) and value.__module__ == home.__name__
    return isinstance(value, nn.Module)
