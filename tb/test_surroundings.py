"""Full disks, folders that cannot be written, paths with spaces, and what killed runs leave."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from random_networks import generator, random_images, telling_network

from convstream.model.base import errors, folders
from convstream.model.base.files import write_atomically
from convstream.model.export import export
from convstream.model.formats.onnx import write_onnx
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import run

PLAIN = Network.chain("tiny", (Conv(2, 3, 3), MaxPool(3, 3), Linear(4)), (1, 28, 28))


@pytest.fixture(scope="module")
def quantised() -> QuantisedNetwork:
    """A network that is compiled in no time."""
    return telling_network("1", PLAIN)


@pytest.fixture
def images(quantised, tmp_path) -> str:
    """A file of images for it."""
    np.save(tmp_path / "images.npy", random_images(generator("1", "images"), quantised, 4))
    return str(tmp_path / "images.npy")


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    yield from mounted(tmp_path / "small", "size=2m")


def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, left: int = 0) -> None:
    """Leave `left` bytes of room."""
    with (folder / "ballast").open("wb") as file, pytest.raises(OSError):  # noqa: PT011
        while True:
            os.write(file.fileno(), bytes(4096))
    if left:
        os.truncate(folder / "ballast", (folder / "ballast").stat().st_size - left)


def convstream(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """The command, and what came of it."""
    command = [sys.executable, "-m", "convstream", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, check=False
    )


def refused(done: subprocess.CompletedProcess, words: str) -> None:
    """One line, behind those about the images, and exit code 2."""
    assert done.returncode == 2, done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: ") and words in last, done.stderr
    assert not any(re.match(r"error: |Traceback", line) for line in before), done.stderr


# Temporary folders


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path, number):
    code = (
        "import sys, time; from pathlib import Path; from convstream.model.base import folders\n"
        "with folders.scratch(Path(sys.argv[1]), 'mine-') as made:\n"
        "    (made / 'file').write_text('x'); print(made, flush=True); time.sleep(600)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        dead, alive = (Path(process.stdout.readline().decode().strip()) for process in processes)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine-too").write_text("a file")
        processes[0].send_signal(number)
        processes[0].wait()
        assert dead.is_dir()
        with folders.scratch(tmp_path, "mine-") as own:
            assert own.is_dir() and alive.is_dir() and not dead.exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            ["mine", "mine-too", alive.name]
        )
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_folder_that_another_process_takes_is_left_to_it(tmp_path, monkeypatch):
    """Between making and locking it, a folder looks like one that was left."""
    locks = iter([None, *range(10)])
    real = folders._lock

    def lock(folder: Path) -> int | None:
        return real(folder) if next(locks) is not None else None

    monkeypatch.setattr(folders, "_lock", lock)
    with folders.scratch(tmp_path, "mine-") as folder:
        assert [folder] == list(tmp_path.iterdir())
    monkeypatch.setattr(folders, "_lock", lambda folder: None)  # a file system without locks
    with folders.scratch(tmp_path, "mine-") as folder:
        assert [folder] == list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


# Full disks


def test_export_to_a_full_disk(quantised, small, tmp_path):
    write_onnx(quantised, tmp_path / "tiny.onnx")
    export(quantised, small / "net" / "tiny")
    before = {path.name: path.read_bytes() for path in (small / "net" / "tiny").iterdir()}
    fill(small)
    onnx = str(tmp_path / "tiny.onnx")
    for arguments in (
        ["--out", str(small / "net" / "tiny"), "--cycles", "2000"],
        ["--out", str(small / "new" / "tiny")],
        ["--out", str(small / "hex"), "--format", "hex"],
    ):
        refused(convstream("export", onnx, *arguments), "No space left on device")
    assert {path.name: path.read_bytes() for path in (small / "net" / "tiny").iterdir()} == before
    assert not [path for path in small.rglob("*") if path.name.startswith(".convstream")]


def test_simulation_with_a_full_disk(quantised, images, small, tmp_path):
    """Neither a build nor a run that lacks room says that logits differ."""
    folder = str(tmp_path / "tiny")
    export(quantised, folder)
    arguments = ["sim", folder, "--sim", "icarus", "--images", images]
    assert convstream(*arguments).returncode == 0
    (small / "temporary").mkdir()
    fill(small, left=64 << 10)
    refused(convstream(*arguments, TMPDIR=str(small / "temporary")), "No space left on device")
    refused(convstream(*arguments, TMPDIR=str(small / "temporary"), HOME="/"), "No space left")
    assert not list((small / "temporary").iterdir())


def test_a_build_on_a_full_disk(quantised, images, small, tmp_path, monkeypatch):
    export(quantised, tmp_path / "tiny")
    fill(small, left=256 << 10)
    monkeypatch.setattr(run, "BUILD", small / "build")
    for simulator in ("icarus", "verilator"):
        with pytest.raises(OSError, match="No space left on device"):
            run.main([str(tmp_path / "tiny"), "--sim", simulator, "--images", images])
    assert not [path for path in (small / "build").rglob("*") if path.is_file()]


def test_reports_on_a_full_disk(small):
    write_atomically(small / "report.json", b"old")
    fill(small)
    with pytest.raises(errors.UserError, match=r"report.json: cannot be written \(No space left"):
        write_atomically(small / "report.json", b"new" * 10_000)
    assert (small / "report.json").read_bytes() == b"old"
    assert sorted(path.name for path in small.iterdir()) == ["ballast", "report.json"]


@pytest.fixture
def read_only(small) -> Path:
    """A file system that cannot be written."""
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    return small


def test_a_folder_that_cannot_be_written(quantised, images, read_only, tmp_path, monkeypatch):
    write_onnx(quantised, tmp_path / "tiny.onnx")
    out = ["--out", str(read_only / "tiny")]
    words = "Read-only file system"
    refused(convstream("export", str(tmp_path / "tiny.onnx"), *out), words)
    refused(convstream("train", "convnet", "--backend", "numpy", *out), words)
    refused(convstream("evaluate", "convnet", *out), words)
    export(quantised, tmp_path / "tiny")
    monkeypatch.setattr(run, "BUILD", read_only / "build")
    with pytest.raises(OSError, match=words):
        run.main([str(tmp_path / "tiny"), "--sim", "icarus", "--images", images])


def test_no_temporary_folder(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/nonesuch"])
    with pytest.raises(errors.UserError, match="no folder for temporary files .* set TMPDIR"):
        folders.temporary()


def test_whoever_reads_the_output_may_stop():
    """As `head` does."""
    code = "from convstream.model.base import errors; errors.run(lambda: print('x\\n' * 10**6))"
    command = f'{sys.executable} -c "{code}" | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("x\n", "")


# Paths


def test_paths_with_spaces(quantised, images, tmp_path, monkeypatch):
    """Of network, images, build and Python's packages: no makefile and no $fopen sees them."""
    place = tmp_path / "My Projects" / "ümlaut"
    export(quantised, place / "tiny")
    shutil.move(images, place / "my images.npy")
    monkeypatch.setattr(run, "BUILD", place / "build")
    installed = place / "site packages"
    installed.mkdir()
    (installed / "verilator").symlink_to(run.tools.verilator_package())
    monkeypatch.setattr(run.tools, "verilator_package", lambda: installed / "verilator")
    arguments = [str(place / "tiny"), "--images", str(place / "my images.npy"), "--waves"]
    for simulator in ("icarus", "verilator"):
        assert run.main([*arguments, "--sim", simulator]) == 0
    waves = sorted(path.name for path in (place / "build").rglob("waves.*"))
    assert waves == ["waves.fst", "waves.vcd"]


def test_no_folder_that_make_takes(quantised, images, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "BUILD", tmp_path / "a b")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "c d"))
    (tmp_path / "c d").mkdir()
    export(quantised, tmp_path / "tiny")
    with pytest.raises(errors.UserError, match="make takes no path with spaces; set TMPDIR"):
        run.main([str(tmp_path / "tiny"), "--images", images])
