"""A file is written whole, or what was there before stays, and nothing else is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convstream.model.base.errors import UserError
from convstream.model.base.files import write_atomically


def test_a_file_and_its_folder_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    write_atomically(path, b"old")
    assert path.read_bytes() == b"old"
    write_atomically(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file.bin"]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(step, error, tmp_path, monkeypatch):
    """An interrupt is passed on; an error of the system becomes one line."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    write = Path.write_bytes

    def fail(self: Path, *arguments: object) -> None:
        if step == "write_bytes":
            write(self, b"ne")
        raise error

    monkeypatch.setattr(Path, step, fail)
    expected = UserError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_atomically(path, b"new")
    if expected is UserError:
        assert str(caught.value).startswith(f"{path}: cannot be written (No space left on device);")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_places_where_no_file_can_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="cannot be written") as caught:
            write_atomically(path, b"new")
        assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
