"""Weights as PyTorch keeps them: a state_dict, a checkpoint, a module, TorchScript, safetensors.

Nothing in a file is run unless the user trusts it: pickles are read for their weights alone.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.base.files import MAX_BYTES, one_line, read_bytes

State = Mapping[str, Tensor]
SHOWN = 3  # names in a message
SAVE = "torch.save(net.state_dict(), 'net.pt')"


def read(path: Path, trusted: bool = False, home: ModuleType | None = None) -> Any:
    """What a file holds: a module, or whatever else was saved.

    trusted: run the code that a pickle names. home: where classes of a pickled `__main__` are.
    Raises `UserError` for what is damaged, no such file, or would run code.
    """
    content = read_bytes(path)
    if path.suffix.lower() == ".safetensors":
        return _safetensors(content, path)
    try:
        names = _names(content)
    except (zipfile.BadZipFile, ValueError) as error:
        raise _damaged(path, error) from None
    scripted = any(name.endswith("/constants.pkl") for name in names)
    options: dict[str, Any] = {"weights_only": not trusted}
    if trusted:
        options["pickle_module"] = _pickle(home)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the age of TorchScript, and of other formats
            if scripted:
                return torch.jit.load(io.BytesIO(content), map_location="cpu")
            return torch.load(io.BytesIO(content), map_location="cpu", **options)
    except Exception as error:  # of torch, of pickle, and where trusted of anything
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named and not trusted:
            raise UserError(
                f"{path}: loading it would run code, as it holds {one_line(named[1])}; save the "
                f"weights alone, {SAVE}, or add --trust-pickle if you trust the file"
            ) from None
        if trusted and isinstance(error, (AttributeError, ImportError)):
            raise UserError(
                f"{path}: its classes are not found ({one_line(error)}); type: convstream export "
                f"mymodule.py:MyNet --weights {path} --trust-pickle --calibrate images.npz"
            ) from None
        raise _damaged(path, error) from None


def _names(content: bytes) -> list[str]:
    """Names of a zip archive's files, none of an older format's."""
    if not content.startswith(b"PK"):
        return []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES >> 20} MiB")
        return archive.namelist()


def _pickle(home: ModuleType | None) -> Any:
    """Python's pickle, for which the user's file is the script that saved the module."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if home is not None and module == "__main__":
                return getattr(home, name)
            return super().find_class(module, name)

    return SimpleNamespace(**vars(pickle) | {"Unpickler": Unpickler})


def _safetensors(content: bytes, path: Path) -> State:
    try:
        from safetensors.torch import load
    except ModuleNotFoundError:
        raise UserError(
            f"{path} needs safetensors, which is not installed; {places.extra('train')}"
        ) from None
    try:
        return load(content)
    except Exception as error:  # its own, and torch's
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: no weights that PyTorch can read, or damaged ({one_line(error)[:80]}); save "
        f"them again: {SAVE}"
    )


def state_of(found: object, path: Path) -> State:
    """The weights in what `read` gives: its own, or the only ones that a checkpoint holds."""
    sets = _sets(found)
    if len(sets) == 1:
        return next(iter(sets.values()))
    if sets:
        chosen = next(iter(sets))
        raise UserError(
            f"{path} holds several sets of weights ({_few(list(sets))}); save one of them: "
            f"torch.save(torch.load({str(path)!r})[{chosen!r}], 'net.pt')"
        )
    kind = f"a {type(found).__name__}"
    if isinstance(found, Mapping):
        kind = "an optimiser's state" if "param_groups" in found else "a dictionary"
        kind += f" of {_few([str(key) for key in found]) or 'nothing'}"
    raise UserError(f"{path} holds {kind}, expected a network's weights; save them: {SAVE}")


def _sets(found: object) -> dict[str, State]:
    """Weights by what they are called, "" where they are all that there is."""
    if (own := _weights(found)) is not None:
        return {"": own}
    if not isinstance(found, Mapping):
        return {}
    sets = {str(key): _weights(value) for key, value in found.items()}
    return {key: value for key, value in sets.items() if value is not None}


def _weights(found: object) -> State | None:
    """A module's weights, or those of a dictionary that holds nothing else."""
    if isinstance(found, nn.Module):
        return found.state_dict()
    if not (isinstance(found, Mapping) and found):
        return None
    fits = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items())
    return found if fits else None


def fill(module: nn.Module, state: State, path: Path, source: str) -> None:
    """Give `module` the weights of a file. Raises `UserError` where they do not fit exactly.

    A prefix that all names share, such as `module.` of DataParallel, does not count.
    """
    wanted = {
        name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)
    }
    state = _unprefixed(state, set(wanted))
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    faults = []
    if missing:
        faults.append(f"it lacks {_few(missing)}")
    if unknown := [name for name in state if name not in wanted]:
        faults.append(f"it has {_few(unknown)}, which the network has not")
    faults += [
        f"{name} is {_times(state[name])}, the network's {_times(value)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    if faults:
        raise UserError(
            f"{path} does not fit {source}: {one_line('; '.join(faults[:SHOWN]))}; give the class "
            "and arguments that were trained, such as mymodule.py:MyNet(10, width=16)"
        )
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise UserError(f"{path}: {name} holds values that are not finite; train it again")
    module.load_state_dict(dict(state), strict=False)


def _unprefixed(state: State, wanted: set[str]) -> State:
    """The same without the prefix that makes the names those that are wanted."""
    some = next(iter(wanted), "")
    for prefix in {name.removesuffix(some) for name in state if name.endswith(some)}:
        shorter = {name.removeprefix(prefix): value for name, value in state.items()}
        if shorter.keys() == wanted and all(name.startswith(prefix) for name in state):
            return shorter
    return state


def _few(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return one_line(", ".join(names[:SHOWN])) + more


def _times(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
