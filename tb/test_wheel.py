"""What `pip install` gives: one package that holds all it needs, in whichever folder one is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convstream.model.base.places import PACKAGE

pytest.importorskip("setuptools")

ROOMS = ("convstream", "fpga", "mem", "model", "rtl", "sim")
SEALED = set(".in .json .lpf .cpp .jinja .mem .npz .onnx .pcf .png .py .toml .v .vlt".split())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder into which the wheel has been unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*ROOMS, "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (PACKAGE / name).is_dir() else shutil.copyfile
        options = {"symlinks": True, "ignore": shutil.ignore_patterns("__pycache__")}
        copy(PACKAGE / name, source / name, **(options if copy is shutil.copytree else {}))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "."]
    subprocess.run([*command, "-w", str(folder)], cwd=source, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_one_package_with_all_data(site):
    names = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"convstream"}
    licence = site / "convstream" / "fpga" / "bundling" / "templates" / "LICENSE"
    assert licence.read_bytes() == (PACKAGE / "LICENSE").read_bytes()
    for room in ROOMS[1:]:
        for path in (PACKAGE / room).rglob("*"):
            if path.suffix in SEALED and "__pycache__" not in path.parts:
                copy = site / "convstream" / path.relative_to(PACKAGE)
                assert copy.read_bytes() == path.read_bytes(), copy


def test_the_commands_in_an_empty_folder(site, tmp_path, seed):
    """With a user's own model.py beside; what is made is made here."""
    (tmp_path / "model.py").write_text("raise SystemExit('the model of the user')")
    shutil.copyfile(PACKAGE / "mem" / "convnet" / "network.onnx", tmp_path / "my.onnx")
    images = np.random.default_rng(int(seed)).integers(0, 256, (2, 28, 28), np.uint8)
    np.save(tmp_path / "x.npy", images)

    def convstream(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "convstream", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    convstream("export", "my.onnx", "--out", "hw/my", "--multipliers", "20")
    for network in ("hw/my", "convnet"):
        shown = convstream("sim", network, "--images", "x.npy", "--sim", "icarus")
        assert "x.npy 1" in shown
    page = Path(convstream("report", "hw/my", "--data", "x.npy").strip())
    assert "0 of 20 logits differ" in (tmp_path / page).read_text(encoding="utf-8")
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("report.json"))
    assert len(made) == 2 and made[0] == "build/sim/convnet/report.json"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "build",
        "hw",
        "model.py",
        "my.onnx",
        "x.npy",
    ]
