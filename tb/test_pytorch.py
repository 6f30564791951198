"""From a PyTorch module to int8: on the command line, from Python, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import onnx
import pytest
from bad_files import damaged, refuses_or_reads
from hypothesis import HealthCheck, given, settings
from oracles import run_onnx
from random_networks import generator

import convstream
from convstream.model import export, quantise
from convstream.model.base.errors import UserError
from convstream.model.calibrated import Quantised
from convstream.model.formats.onnx import read_onnx
from convstream.model.learning.own_data import DataFiles
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE

torch = pytest.importorskip("torch", reason="needs the extra [train]")

SOURCE = '''
"""Networks as users write them."""
import torch
from torch import nn
from torch.nn import functional as F

import neighbour


class Net(nn.Module):
    def __init__(self, classes=5, width=3):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width * neighbour.SIZE, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.fc(x.view(x.size(0), -1))


class Random(Net):
    def forward(self, x):
        return super().forward(F.dropout(x))


class Deciding(Net):
    def forward(self, x):
        return super().forward(-x if x.mean() > 0 else x)


class Pair(Net):
    def forward(self, x):
        return super().forward(x), x


class Mean(Net):
    def forward(self, x):
        return super().forward(x).mean(0)


class Sorted(Net):
    def forward(self, x):
        return super().forward(torch.linalg.qr(x)[0])


def make(width):
    return Net(width=width)


def broken():
    return 3


net = Net()
number = 7
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mine.py, its neighbour, weights in every form, and images with labels."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("pytorch")
    (folder / "mine.py").write_text(SOURCE)
    (folder / "neighbour.py").write_text("SIZE = 9\n")
    (folder / "raises.py").write_text("\n\nimport nonesuch\n")
    (folder / "ends.py").write_text("raise SystemExit('usage: ends.py FILE')\n")
    (folder / "unwritten.py").write_text("class Net(\n")
    # As a script would that is run by itself.
    script = textwrap.dedent("""
        import torch
        from mine import Net as Imported

        class Net(Imported):
            pass

        torch.manual_seed(1)
        net = Net()
        state = net.state_dict()
        state["norm.running_mean"] += 0.1
        torch.save(state, "net.pt")
        torch.save(net, "whole.pt")
        optimiser = torch.optim.Adam(net.parameters())
        net(torch.randn(4, 1, 14, 14)).sum().backward()
        optimiser.step()
        net.load_state_dict(torch.load("net.pt"))
        torch.save(optimiser.state_dict(), "optimiser.pt")
        torch.save({"epoch": 3, "model": state, "optim": optimiser.state_dict()}, "checkpoint.pt")
        torch.save({"model": state, "ema": state}, "two.pt")
        torch.save({f"module.{name}": value for name, value in state.items()}, "parallel.pth")
        torch.save(torch.zeros(3), "tensor.pt")
        torch.save(state, "old.pt", _use_new_zipfile_serialization=False)
        torch.save(state | {"fc.bias": torch.full((5,), torch.nan)}, "nan.pt")
        torch.save({n: v for n, v in state.items() if n != "fc.bias"} | {"fc.b": state["fc.bias"]},
                   "other.pt")
        torch.jit.trace(net.eval(), torch.zeros(2, 1, 14, 14)).save("script.pt")
    """)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=folder, check=True, timeout=120
    )
    save_file(torch.load(folder / "net.pt"), folder / "net.safetensors")
    images = np.random.default_rng(4).normal(size=(41, 1, 14, 14)).astype(np.float32)
    np.savez(folder / "cal.npz", images=images, labels=np.arange(41) % 5)
    return folder


@pytest.fixture
def there(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder as the current one."""
    monkeypatch.chdir(made)
    return made


def int8(*arguments: str) -> Quantised:
    """What `convstream quantise` makes of its arguments."""
    given = quantise.main.parse([*arguments, "--calibrate", "cal.npz"])
    source, _ = given.pop("network"), given.pop("out")
    files = DataFiles(*(given.pop(name) for name in ("source", "labels", "classes", "layout")))
    return quantise.quantise(source, "net", quantise.Options(files, **given))


@pytest.mark.parametrize(
    "arguments",
    [
        ["mine.py:Net", "--weights", "net.pt", "--input", "1,14,14"],
        ["mine.py:Net()", "--weights", "checkpoint.pt", "--input", "1x14x14"],
        ["mine.py:Net(5, width=3)", "--weights", "parallel.pth"],
        ["mine.py:net", "--weights", "net.safetensors"],
        ["mine.py:make(3)", "--weights", "old.pt"],
        ["mine.py:make(3)", "--weights", "script.pt"],
        ["mine.py:Net", "--weights", "whole.pt", "--trust-pickle"],
        ["script.pt"],
    ],
    ids=lambda arguments: arguments[-1] if len(arguments) < 3 else " ".join(arguments[:3:2]),
)
def test_whatever_the_weights_come_in(there: Path, arguments: list[str], seed: str) -> None:
    """They are the same network, and what it computes is what ONNX Runtime does."""
    got = int8(*arguments)
    expected = int8("mine.py:Net", "--weights", "net.pt")
    for name, parameters in expected.network.parameters.items():
        np.testing.assert_array_equal(got.network.parameters[name].weight, parameters.weight)
        np.testing.assert_array_equal(got.network.parameters[name].bias, parameters.bias)
    images = generator(seed, "pytorch").normal(size=(50, 1, 14, 14)).astype(np.float32)
    found = reference.predict(got.network, got.network.codes[IMAGE].of_real(images))
    (outputs,) = run_onnx(got.int8, images, optimise=True)
    np.testing.assert_array_equal(got.network.real(found).astype(np.float32), outputs)


def test_export_writes_both(there: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """int8 as the network, floats beside it; what is exported there next has none of it."""
    out = tmp_path / "hw" / "my"
    arguments = ["mine.py:Net", "--weights", "net.pt", "--calibrate", "cal.npz"]
    assert export.main([*arguments, "--per-channel", "--out", str(out), "--cycles", "900"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy on 41 images" in shown and "files in" in shown
    assert read_onnx(out / "network.onnx", "my").network.input_shape == (1, 14, 14)
    floats = onnx.load(out / "float.onnx")
    assert [node.op_type for node in floats.graph.node][:3] == ["Conv", "Relu", "MaxPool"]
    assert {"my.v", "network.json"} < {path.name for path in out.iterdir()}
    before = (out / "network.onnx").read_bytes()
    arguments = [str(out / "float.onnx"), "--calibrate", "cal.npz", "--per-channel"]
    assert quantise.main([*arguments, "--out", str(tmp_path / "int8.onnx")]) == 0
    assert (tmp_path / "int8.onnx").read_bytes() == before
    assert export.main([str(tmp_path / "int8.onnx"), "--out", str(out)]) == 0
    assert (out / "float.onnx").exists()
    arguments = ["mine.py:Net", "--weights", "net.pt", "--calibrate", "cal.npz", "--power-of-two"]
    assert quantise.main([*arguments, "--out", str(tmp_path / "other.onnx")]) == 0
    assert export.main([str(tmp_path / "other.onnx"), "--out", str(out)]) == 0
    assert not (out / "float.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonesuch.py:Net"], "nonesuch.py: no such file"),
        (["mine.py"], "name the network in it, such as mine.py:Net$"),
        (["unwritten.py:"], "such as unwritten.py:MyNet$"),
        (["mine.py:Nonesuch"], "holds no Nonesuch; networks in it: Net, Random, .*, net$"),
        (["mine.py:Net(open('x'))"], "literal arguments, such as"),
        (["mine.py:Net(**{})"], "literal arguments, such as"),
        (["mine.py:Net).x("], "literal arguments, such as"),
        (["mine.py:Net(depth=3)"], r"cannot be made \(TypeError.*depth"),
        (["mine.py:make"], r"cannot be made \(TypeError.*; give it arguments"),
        (["mine.py:net(3)"], "net takes no arguments; type mine.py:net$"),
        (["mine.py:broken"], "is of type int, expected a torch.nn.Module"),
        (["mine.py:number"], "is of type int, expected a torch.nn.Module"),
        (["raises.py:Net"], r"cannot be imported \(ModuleNotFoundError, line 3: .*nonesuch"),
        (["ends.py:Net"], r"cannot be imported \(SystemExit, line 1: usage"),
        (["unwritten.py:Net"], r"cannot be imported \(SyntaxError"),
        (["mine.py:Net", "--input", "1,20,20"], "inputs of 1x14x14, the network takes 1x20x20"),
        (["mine.py:Net", "--input", "1,a"], "1,a is no shape; type one such as 1,28,28"),
        (["mine.py:Net", "--weights", "nonesuch.pt"], "nonesuch.pt is missing"),
        (["mine.py:Net", "--weights", "mine.py"], "mine.py: no weights that PyTorch can read"),
        (["mine.py:Net", "--weights", "cal.npz"], "cal.npz: no weights that PyTorch can read"),
        (["mine.py:Net", "--weights", "tensor.pt"], "holds a Tensor, expected a network's"),
        (["mine.py:Net", "--weights", "optimiser.pt"], "holds an optimiser's state"),
        (["mine.py:Net", "--weights", "two.pt"], r"several sets of weights \(model, ema\)"),
        (["mine.py:Net", "--weights", "nan.pt"], "fc.bias holds values that are not finite"),
        (["mine.py:Net", "--weights", "other.pt"], "it lacks fc.bias; it has fc.b, which"),
        (["mine.py:Net(7)", "--weights", "net.pt"], "fc.weight is 5x27, the network's 7x27"),
        (["mine.py:Net", "--weights", "whole.pt"], r"run code, as it holds __main__\.Net; save"),
        (["whole.pt", "--trust-pickle"], r"classes are not found .*; type: .* mymodule.py:MyNet"),
        (["net.pt"], "mymodule.py:MyNet --weights net.pt --calibrate images.npz$"),
        (["net.safetensors"], "mymodule.py:MyNet --weights net.safetensors --calibrate"),
        (["lenet5"], "lenet5 is no float network; .*, or leave out --calibrate$"),
        (["kws.tflite"], "kws.tflite is no float network; .*, or leave out --calibrate$"),
        (["net.onnx", "--weights", "net.pt"], "net.onnx is no PyTorch module; leave out"),
        (["script.pt", "--weights", "net.pt"], "script.pt has its own weights"),
        (["mine.py:Random"], "its trace gives other outputs than it does; leave out what is rand"),
        (["mine.py:Deciding"], "its trace gives other outputs than it does"),
        (["mine.py:Pair"], "returns a tuple, expected one tensor"),
        (["mine.py:Mean"], r"returns a Tensor of shape \(5,\) for 2 inputs"),
        (["mine.py:Sorted"], r"cannot be traced \(UnsupportedOperatorError.*linalg_qr"),
    ],
    ids=lambda value: " ".join(value).replace("--", "") if isinstance(value, list) else "",
)
def test_refusals(there: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    """In one line, with nothing written."""
    before = sorted(os.listdir(there))
    with pytest.raises(UserError, match=words) as caught:
        export.main([*arguments, "--calibrate", "cal.npz", "--out", str(tmp_path / "hw")])
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())
    assert sorted(os.listdir(there)) == before


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("mine.py:Net", "float network; type: convstream export mine.py:Net --weights net.pt --ca"),
        ("mine.py", "name the network in it"),
        ("net.pt", "type: convstream export mymodule.py:MyNet --weights net.pt --calibrate"),
        ("nonesuch.pt", "nonesuch.pt: no such file"),
        ("float.onnx", "a float network; type: convstream export float.onnx --calibrate images"),
    ],
)
def test_a_float_network_needs_calibrating(there: Path, source: str, words: str) -> None:
    onnx.save(int8("mine.py:Net", "--weights", "net.pt").floats, "float.onnx")
    with pytest.raises(UserError, match=words):
        export.main([source, "--out", "hw"])
    with pytest.raises(UserError, match="--calibrate is missing"):
        export.main(["lenet5", "--weights", "net.pt", "--out", "hw"])
    assert not Path("hw").exists()


def test_pickles_run_nothing(there: Path, tmp_path: Path) -> None:
    """Unless that is asked for."""

    class Evil:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "evil"),)

    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pt")
    arguments = ["mine.py:Net", "--weights", str(tmp_path / "evil.pt")]
    with pytest.raises(UserError, match=r"would run code, as it holds \w+\.mkdir"):
        int8(*arguments)
    assert not (tmp_path / "evil").exists()
    with pytest.raises(UserError, match="expected a network's weights"):
        int8(*arguments, "--trust-pickle")
    assert (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["net.pt", "old.pt", "script.pt", "net.safetensors"])
def test_damaged_weights(made: Path, tmp_path: Path, name: str) -> None:
    from convstream.model.formats.torch import weights

    content, path = (made / name).read_bytes(), tmp_path / name

    @settings(
        max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(damaged(content))
    def check(other: bytes) -> None:
        path.write_bytes(other)
        refuses_or_reads(weights.read, path)

    path.write_bytes(content)
    assert refuses_or_reads(weights.read, path) is None
    check()


def test_labels_of_no_output(there: Path, tmp_path: Path) -> None:
    images = np.load("cal.npz")["images"]
    np.savez(tmp_path / "cal.npz", images=images, labels=np.full(len(images), 5))
    arguments = ["mine.py:Net", "--weights", "net.pt", "--calibrate", str(tmp_path / "cal.npz")]
    with pytest.raises(UserError, match="label 5 of image 0, .* has 5 outputs; expected 0 to 4"):
        quantise.main([*arguments, "--out", str(tmp_path / "out.onnx")])
    assert not (tmp_path / "out.onnx").exists()


def test_without_pytorch(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in ("modules", "weights"):
        monkeypatch.delitem(sys.modules, f"convstream.model.formats.torch.{name}", raising=False)
    monkeypatch.delattr(convstream.model.formats.torch, "modules", raising=False)
    with pytest.raises(UserError, match=r"needs PyTorch, which is not installed; pip .*\[train\]"):
        int8("mine.py:Net", "--weights", "net.pt")


def test_weights_beside_an_onnx_file(there: Path, tmp_path: Path) -> None:
    """As PyTorch's newer exporter leaves them."""
    floats = int8("mine.py:Net", "--weights", "net.pt").floats
    path = tmp_path / "net.onnx"
    onnx.save(floats, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    expected = int8("mine.py:Net", "--weights", "net.pt")
    assert int8(str(path)).int8 == expected.int8
    (tmp_path / "net.onnx.data").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="weights lie in net.onnx.data, which is not beside it"):
        int8(str(path))
    (tmp_path / "net.onnx.data").write_bytes(b"short")
    with pytest.raises(UserError, match="its weights cannot be read"):
        int8(str(path))


# From Python


@pytest.fixture(scope="module")
def module(made: Path) -> torch.nn.Module:
    return torch.jit.load(made / "script.pt")


class Net(torch.nn.Sequential):
    """A network in training, with a part that is not."""

    def __init__(self) -> None:
        torch.manual_seed(2)
        nn = torch.nn
        super().__init__(
            nn.Conv2d(1, 2, 3, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)
        )
        self[1].eval()


IMAGES = np.random.default_rng(1).uniform(0, 1, (50, 1, 14, 14)).astype(np.float32)


@pytest.mark.parametrize(
    "calibrate",
    [
        IMAGES,
        torch.from_numpy(IMAGES),
        torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.zeros(50)),
        torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.zeros(50)), batch_size=7
        ),
        list(IMAGES),
        iter(IMAGES),
        "path",
    ],
    ids=["array", "tensor", "dataset", "loader", "list", "iterator", "path"],
)
def test_export_from_python(tmp_path: Path, calibrate: object) -> None:
    """Whatever holds the inputs, it is the same network, and the module stays as it was."""
    if isinstance(calibrate, str):
        calibrate = tmp_path / "images.npy"
        np.save(calibrate, IMAGES)
    net = Net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    out = convstream.export(net, calibrate=calibrate, out=tmp_path / "net", multipliers=3)
    assert out == tmp_path / "net"
    assert [part.training for part in net] == [True, False, True, True, True] and net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    again = convstream.export(
        net, torch.zeros(1, 1, 14, 14), calibrate=IMAGES, out=tmp_path / "again" / "net"
    )
    assert (out / "network.onnx").read_bytes() == (again / "network.onnx").read_bytes()
    assert (out / "net.v").read_text() != (again / "net.v").read_text()


def test_a_data_set_is_sampled_all_over(tmp_path: Path) -> None:
    from convstream.model import api

    images = torch.arange(5000.0).reshape(-1, 1, 1, 1)
    found = api.inputs(torch.utils.data.TensorDataset(images))
    np.testing.assert_array_equal(found.reshape(-1), np.arange(0, 5000, 5))
    loader = torch.utils.data.DataLoader(images, batch_size=300)
    np.testing.assert_array_equal(api.inputs(loader).reshape(-1), np.arange(1000))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"module": "net.onnx"}, "is of type str, expected a torch.nn.Module"),
        ({"module": Net().double()}, r"computes in torch.float64; give module.float\(\)"),
        ({"calibrate": 3}, "calibrate is of type int; give an array"),
        ({"calibrate": ["a"]}, r"items of type str, .* transform=ToTensor\(\)"),
        ({"calibrate": []}, "holds no inputs"),
        ({"calibrate": [IMAGES[0], IMAGES[0, :, :5]]}, "inputs of several shapes"),
        ({"calibrate": IMAGES[:, :, 3:]}, r"cannot take inputs of 1x11x14 \(RuntimeError"),
        ({"calibrate": IMAGES * np.nan}, "values that are not finite"),
        ({"example": torch.zeros(1, 1, 28, 28)}, "of 1x14x14, the network takes 1x28x28"),
        ({"method": "best"}, "unknown method 'best', expected minmax or entropy or perc"),
        ({"per_channel": True, "power_of_two": True}, "leave out --per-channel"),
        ({"std": 0}, "--std 0.0: expected numbers from"),
        ({"out": "always"}, "'always' is a Verilog keyword"),
    ],
)
def test_refusals_from_python(tmp_path: Path, changes: dict, words: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"module": Net(), "calibrate": IMAGES, "out": "net"} | changes
    with pytest.raises(convstream.UserError, match=words):
        convstream.export(**given)
    assert not list(tmp_path.iterdir())


def test_importing_takes_no_torch() -> None:
    code = (
        "import sys, convstream; assert 'numpy' not in sys.modules; convstream.export; "
        "convstream.UserError; assert 'torch' not in sys.modules; import convstream.sim.run; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        convstream.nonesuch  # noqa: B018
