"""Ctrl-C and kill at any moment of training, export and simulation leave what was there whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import small_mnist
from random_networks import generator, random_images, random_parameters

from convstream.model.base import folders, places
from convstream.model.export import export
from convstream.model.hardware import manifest
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import run

ROOT = Path(__file__).resolve().parents[1]
TINY = Network.chain("tiny", (Conv(2, 3), MaxPool(2, 2), Linear(3)), (1, 6, 6))


def quantised(network: Network, seed: int) -> QuantisedNetwork:
    """The network with other weights for each seed."""
    return power_of_two(network, random_parameters(np.random.default_rng(seed), network))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start(command: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen:
    """A command of this project, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> float:
    """Wait for it to succeed: how many seconds that took."""
    started = time.monotonic()
    _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()
    return time.monotonic() - started


def stop(process: subprocess.Popen, number: signal.Signals, seconds: float) -> None:
    """Ctrl-C, which its children get too, or a kill of it alone, after so long; unless it ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.kill()
    process.communicate(timeout=600)


def moments(seed: str, what: str, times: int) -> list[tuple[signal.Signals, float]]:
    """Signals, and shares of a command's time at which they come."""
    rng = random.Random(f"{seed}/{what}")
    return [(number, rng.random()) for number in (signal.SIGINT, signal.SIGKILL) * times]


def test_a_kill_between_any_two_steps_of_export(tmp_path: Path) -> None:
    """The folder is the old one or the new one at every moment, float.npz of training included."""
    folder, extra = tmp_path / "tiny", tmp_path / "float.npz"
    extra.write_bytes(b"old")
    export(quantised(TINY, 1), tmp_path / "old" / "tiny", extra=[extra])
    (tmp_path / "old" / "tiny" / "notes.txt").write_text("of the user")
    (tmp_path / "old" / "tiny" / "network.onnx").unlink()
    old = contents(tmp_path / "old" / "tiny")
    extra.write_bytes(b"new")
    seen = set()
    for fatal in range(40):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "old" / "tiny", folder)
        process = os.fork()
        if not process:
            _count_down(fatal)
            export(quantised(TINY, 2), folder, extra=[extra])
            os._exit(0)
        status = os.waitpid(process, 0)[1]
        new = contents(folder)
        if new != old:
            manifest.verify(folder)
            assert new["notes.txt"] == b"of the user" and new["float.npz"] == b"new"
        seen.add(new != old)
        if status == 0:
            assert fatal > 15 and seen == {False, True}
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError("the export never ended")


def _count_down(left: int) -> None:
    """Kill this process when it has touched the file system so often."""

    def fatal(function):
        def wrapped(*arguments, **options):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return function(*arguments, **options)

        return wrapped

    for name in ("mkdir", "rename", "replace", "write_text", "unlink"):
        setattr(Path, name, fatal(getattr(Path, name)))
    for name in ("link", "rmdir", "unlink"):
        setattr(os, name, fatal(getattr(os, name)))
    folders._exchange = fatal(folders._exchange)


def test_export(seed: str, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    export(quantised(TINY, 1), folder)
    fast = contents(folder)
    command = ["model/export.py", str(folder / "network.onnx"), "--cycles"]
    seconds = finish(start([*command, "200"]))
    slow = contents(folder)
    assert fast != slow
    for number, share in moments(seed, "export", 2):
        target = "36" if contents(folder) == slow else "200"
        stop(start([*command, target]), number, share * seconds)
        manifest.verify(folder)
        assert contents(folder) in (fast, slow)


def test_simulation(seed: str, tmp_path: Path) -> None:
    """Whatever is left of a build, the next run is right."""
    name = f"interrupted{os.getpid()}"
    network = Network.chain(name, TINY.layers, TINY.input_shape)
    folder = tmp_path / name
    cache = run.BUILD / places.label(folder, name)
    export(quantised(network, 1), folder)
    images = random_images(generator(seed, "interrupts"), quantised(network, 1), 4)
    np.save(tmp_path / "images.npy", images)
    arguments = ["--net", str(folder), "--sim", "icarus", "--images", str(tmp_path / "images.npy")]
    try:
        seconds = finish(start(["-m", "convstream.sim.run", *arguments]))
        for number, share in moments(seed, "sim", 2):
            shutil.rmtree(cache)
            stop(start(["-m", "convstream.sim.run", *arguments]), number, share * seconds)
            manifest.verify(folder)
            assert run.main(arguments) == 0
    finally:
        shutil.rmtree(cache, ignore_errors=True)


@pytest.mark.slow
def test_training(seed: str, tmp_path: Path) -> None:
    name = next(iter(NETWORKS))
    folder, old_floats = tmp_path / name, tmp_path / "float.npz"
    digits = small_mnist.digits
    small_mnist.write(tmp_path / "root", digits(seed, 300), digits(seed, 100))
    old_floats.write_bytes(b"old")
    export(quantised(NETWORKS[name], 1), folder, extra=[old_floats])
    old = contents(folder)
    command = ["model/train.py", name, "--backend", "numpy", "--out", str(folder)]
    command += ["--epochs", "1", "--tune-epochs", "1", "--threads", "1", "--set", "batch=30"]
    command += ["--set", "teacher=none", "--set", "restarts=1", "--set", "copies=1"]
    environment = {"MNIST_ROOT": str(tmp_path / "root")}
    shutil.copytree(folder, tmp_path / "old")
    seconds = finish(start(command, environment))
    assert contents(folder) != old
    for number, share in moments(seed, "train", 4):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "old", folder)
        # Most of the time goes into training: every other time the end is met.
        share = share if number == signal.SIGINT else 0.9 + share / 8
        stop(start(command, environment), number, share * seconds)
        manifest.verify(folder)
        assert contents(folder) == old or contents(folder)["float.npz"] != b"old"
