"""The host program against a board in Python that misbehaves: nothing wrong passes for right."""

from __future__ import annotations

import dataclasses
import re
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from model_board import FAULTS, ModelBoard
from PIL import Image
from random_networks import generator, random_images, random_parameters
from small_mnist import digits, write

from convstream.fpga import host, verify
from convstream.fpga.identity import (
    BLOCK_BYTES,
    Identity,
    network_hash,
    read_mem,
    unpack,
    unpack_reply,
)
from convstream.fpga.link import LinkError
from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE
from convstream.model.export import export
from convstream.model.network import reference
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim.design import Design


@pytest.fixture(scope="module")
def quantised() -> QuantisedNetwork:
    """A network that takes MNIST's images."""
    network = Network.chain("tiny", (Conv(2, 3, 3), MaxPool(3, 3), Linear(10)), (1, 28, 28))
    return power_of_two(network, random_parameters(generator("1", "tiny"), network))


@pytest.fixture(scope="module")
def folder(quantised, tmp_path_factory):
    """Its build, as far as a host needs it."""
    folder = tmp_path_factory.mktemp("build") / "tiny"
    export(quantised, folder, training={"dataset": "MNIST"})
    said = Identity(
        board="bench",
        network="tiny",
        network_hash=network_hash(folder / "network.onnx"),
        build_id=b"build #1",
        clock_hz=50_000_000,
        cycles_per_image=100,
        input_shape=(1, 28, 28),
        classes=10,
        layers=2,
    )
    (folder / "identity.mem").write_text(said.to_mem())
    return folder


def answer(folder, *, flip: int | None = None, **changes) -> bytes:
    """What `identify` gets: the identity, with `changes`, and signatures, one of them flipped."""
    said = dataclasses.replace(read_mem(folder / "identity.mem"), **changes)
    values = [value for _, value in verify.signatures(Design.read(folder))]
    if flip is not None:
        values[flip] ^= 0x00010000
    return said.pack() + struct.pack(f"<{len(values)}I", *values)


@pytest.fixture
def board(quantised, folder):
    """A board that runs it."""
    with ModelBoard(quantised, answer(folder)) as board:
        yield board


@pytest.fixture
def mnist(tmp_path, monkeypatch, seed):
    """Random digits where MNIST would be."""
    split = digits(seed, 40)
    write(tmp_path / "mnist", split, split)
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path / "mnist"))
    return split


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A measurement on chip goes on until the board's counter ends it, however busy the machine."""
    monkeypatch.setattr(verify, "ENOUGH_S", 60)


def talk(board, folder, *arguments: str, timeout: float = 5) -> int:
    """The command line."""
    options = ["--port", board.port, "--timeout", str(timeout)]
    return host.main([*options, "--net", str(folder), "--build", str(folder), *arguments])


def cells(text: str, row: str) -> list[str]:
    """The cells of the first row of a printed table that starts with `row`."""
    (line, *_) = [line for line in text.splitlines() if line.lstrip(" │").startswith(row)]
    return [cell.strip() for cell in line.strip("│").split("│")]


# What it says when all is well


def test_identify(board, folder, capsys):
    """All that the board says of itself."""
    assert talk(board, folder, "identify") == 0
    shown = capsys.readouterr().out
    assert cells(shown, "board")[1] == "bench"
    assert cells(shown, "network ")[1] == "tiny"
    assert cells(shown, "network's hash")[1] == network_hash(folder / "network.onnx").hex()
    assert cells(shown, "build")[1] == b"build #1".hex()
    assert cells(shown, "clock")[1] == "50 MHz"
    assert cells(shown, "images a second")[1] == "500,000"
    assert len(cells(shown, "ROM signatures")[1].split()) == 2


def test_status(board, folder, capsys):
    """Counters and flags."""
    board.faults = [None, "error 1"]
    assert talk(board, folder, "status") == 0
    shown = capsys.readouterr().out
    assert cells(shown, "frames")[1] == "3"
    assert cells(shown, "image stored")[1] == "no"
    assert cells(shown, "self-test")[1] == "done"


def test_classify(board, quantised, folder, mnist, tmp_path, capsys, monkeypatch):
    """Files of every kind and numbers of test images, every logit shown."""
    images = random_images(generator("1", "host"), quantised, 3)
    monkeypatch.chdir(tmp_path)
    np.save("three.npy", images)
    Image.fromarray(images[1, 0]).save("one.png")
    assert talk(board, folder, "classify", "three.npy", "7") == 0
    shown = capsys.readouterr().out
    logits = reference.predict(quantised, np.concatenate([images, mnist.pixels[7:8]]))
    for expected in logits:
        assert " ".join(map(str, expected)) in shown
    assert cells(shown, "MNIST test 7")[1:3] == [str(np.argmax(logits[3])), str(mnist.labels[7])]
    assert cells(shown, "three.npy 2")[1:3] == [str(np.argmax(logits[2])), "-"]
    assert talk(board, folder, "classify", "one.png") == 0
    assert " ".join(map(str, logits[1])) in capsys.readouterr().out


def test_mnist(board, quantised, folder, mnist, capsys):
    """The table: what was compared, both accuracies, both rates."""
    assert talk(board, folder, "mnist", "--count", "30") == 0
    row = cells(capsys.readouterr().out, "30 ")
    labels = reference.argmax(reference.predict(quantised, mnist.pixels[:30]))
    accuracy = f"{100 * (labels == mnist.labels[:30]).mean():.2f} %"
    assert row[:5] == ["30", "300", "0", accuracy, accuracy]
    assert float(row[5].replace(",", "")) > 1
    assert 499_000 < float(row[6].replace(",", "")) <= 500_000
    assert row[7] == "0"


def test_bench(board, folder, capsys):
    """Latency, pace and rates at the board's clock."""
    assert talk(board, folder, "bench") == 0
    shown = capsys.readouterr().out
    assert cells(shown, "latency")[1] == "150 cycles, 3.0 us"
    assert cells(shown, "cycles an image")[1] == "100.0 (built for 100)"
    assert cells(shown, "measured over")[1].startswith("65,535 images")


def test_slow_board(quantised, folder, capsys, monkeypatch):
    """A board for which a second is long: as many repeats as can be waited for, no timeout."""

    class Slow(ModelBoard):
        def _answer(self, command, payload, fault):
            if command == 3:
                time.sleep(0.003 * struct.unpack("<H", payload)[0])
            return super()._answer(command, payload, fault)

    monkeypatch.setattr(host, "BENCH_IMAGES", 5)
    monkeypatch.setattr(verify, "ENOUGH_S", 0.3)
    with Slow(quantised, answer(folder)) as board:
        assert talk(board, folder, "bench", timeout=0.5) == 0
    assert cells(capsys.readouterr().out, "measured over")[1].startswith("512 images")


def test_slow_wire(quantised, folder, monkeypatch, capsys):
    """A simulated board shows with its first answer how slow it is, and is waited for."""

    class Slow(ModelBoard):
        def _answer(self, command, payload, fault):
            time.sleep(0.002 * (100 + len(payload)))
            return super()._answer(command, payload, fault)

    np.save(folder / "image.npy", random_images(generator("1", "slow"), quantised, 1))
    with Slow(quantised, answer(folder)) as board:
        assert talk(board, folder, "classify", str(folder / "image.npy"), timeout=0.5) == 0
        assert len(board.requests) == 2


def test_repeats_fit_the_counter(quantised, folder, capsys, monkeypatch):
    """Cycles are 32 bits on the board: a slow folding is repeated less often."""
    monkeypatch.setattr(host, "BENCH_IMAGES", 5)
    said = answer(folder, cycles_per_image=10_000_000)
    with ModelBoard(quantised, said, cycles=10_000_000) as board:
        assert talk(board, folder, "bench") == 0
    assert cells(capsys.readouterr().out, "measured over")[1].startswith("214 images")


def test_logits_of_several_positions(tmp_path, monkeypatch, capsys):
    """A network that ends in a convolution gives its logits row by row; so does its class count."""
    network = Network.chain("tail", (Conv(2, 3, 2), Conv(3, 2, 2)), (1, 9, 9))
    quantised = power_of_two(network, random_parameters(generator("1", "tail"), network))
    assert network.output.out_shape == (3, 2, 2)
    folder = tmp_path / "tail"
    export(quantised, folder)
    said = Identity(
        *("bench", "tail", network_hash(folder / "network.onnx"), b"build #1", 50_000_000, 100),
        *((1, 9, 9), 12, 2),
    )
    (folder / "identity.mem").write_text(said.to_mem())
    images = random_images(generator("1", "tail"), quantised, 8)
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", images)
    with ModelBoard(quantised, answer(folder)) as board:
        assert talk(board, folder, "classify", "images.npy") == 0
    shown = capsys.readouterr().out
    for index, logits in enumerate(reference.predict(quantised, images)):
        row = cells(shown, f"images.npy {index}")
        assert row[1] == str(np.argmax(logits))
        assert row[4] == " ".join(map(str, logits))


# What it makes of faults on the wire


HARMLESS = [
    *("mute", "other tag", "other command", "damaged", "late", "noise", "cut", "pieces"),
    *("error 1", "error 5 without tag"),
]


@pytest.mark.parametrize("fault", HARMLESS)
def test_fault_does_no_harm(board, folder, mnist, capsys, fault):
    """Any answer may be lost or damaged, twice in a row: all logits still come, none is wrong."""
    board.faults = [fault, fault, None, None, fault, fault, None, fault, None, None, fault]
    lost = fault not in ("late", "noise", "pieces")
    assert talk(board, folder, "mnist", "--count", "6", timeout=0.2 if lost else 5) == 0
    row = cells(capsys.readouterr().out, "6 ")
    assert row[2] == "0"
    # A slow machine may add some of its own.
    assert int(row[7]) >= 6 if lost else row[7] == "0"
    assert not board.faults
    tags = [tag for _, tag in board.requests]
    assert all(a != b for a, b in zip(tags, tags[1:], strict=False))


def test_retries_are_counted(board, folder, mnist, capsys):
    """Two lost answers."""
    board.faults = [None, "error 1", None, "error 5 without tag"]
    assert talk(board, folder, "mnist", "--count", "6", timeout=5) == 0
    assert cells(capsys.readouterr().out, "6 ")[7] == "2"


def test_no_damaged_bit_passes(board, folder, capsys):
    """Any bit of an answer flipped, three times in a row each: none is taken for an answer."""
    board.faults = ["damaged"] * 30
    for _ in range(10):
        with pytest.raises(LinkError):
            talk(board, folder, "identify", timeout=0.05)
    assert not board.faults
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        (["mute"] * 3, "the board is silent; is it powered, loaded .* and on this port?"),
        (["cut"] * 3, "bytes came, .* is 3000000 the board's baud rate?"),
        (["error 1"] * 3, "answers identify with: wrong CRC .code 1., even at attempt 3"),
        (["error 5 without tag"] * 3, "the frame broke off .code 5."),
        (["error 6"], "the board says: no image stored .code 6."),
        (["hang-up"], "the connection broke; plug the board in again"),
        (["too short"], "bytes of signatures for 2 layers"),
        ([None, None, None, "hang-up"], "the connection broke; plug the board in again"),
        ([None, "too short"], "bytes in answer to classify, expected 46; .* another version"),
    ],
)
def test_fault_that_stays(board, folder, mnist, faults, message):
    """Bounded attempts, then one line that says what it is."""
    board.faults = list(faults)
    with pytest.raises(UserError, match=message) as caught:
        talk(board, folder, "mnist", "--count", "6", timeout=0.5)
    assert "\n" not in str(caught.value)
    assert not board.faults


def test_every_fault_is_tried():
    """Here or there."""
    tried = {*HARMLESS, "error 6", "hang-up", "too short", "wrong logit", "wrong class"}
    assert tried | {"other logits"} == set(FAULTS)


def test_wrong_logit(board, folder, mnist, capsys):
    """Exit 1; image, class and both values are named, and the table counts it."""
    board.faults = [None, None, None, "wrong logit"]
    assert talk(board, folder, "mnist", "--count", "6") == 1
    captured = capsys.readouterr()
    assert re.match(r"image 2: logit of class 0: board -?\d+, reference -?\d+\n$", captured.err)
    assert cells(captured.out, "6 ")[2] == "1"


def test_wrong_class(board, folder, mnist, capsys):
    """The class must be that of the logits, too."""
    board.faults = [None, None, "wrong class"]
    assert talk(board, folder, "mnist", "--count", "6") == 1
    assert re.match(r"image 1: class: board \d+, reference \d+\n$", capsys.readouterr().err)


@pytest.mark.parametrize("command", ["mnist", "bench"])
def test_other_logits_on_chip(board, folder, mnist, capsys, monkeypatch, command):
    """Repeating must give the same logits every time."""
    monkeypatch.setattr(host, "BENCH_IMAGES", 5)
    board.faults = [None] * 6 + ["other logits"]
    arguments = ["--count", "5"] if command == "mnist" else []
    assert talk(board, folder, command, *arguments) == 1
    assert "repeat: 3 of 1 times" in capsys.readouterr().err


# Which boards it refuses


def refused(quantised, folder, said: bytes, message: str, *options: str) -> None:
    """A board that says `said` is refused before it gets an image."""
    with ModelBoard(quantised, said) as board:
        with pytest.raises(UserError, match=message):
            talk(board, folder, *options, "bench")
        assert {command for command, _ in board.requests} == {1}


def test_other_network(quantised, folder):
    """The hash of network.onnx decides, not the name."""
    said = answer(folder, network_hash=b"\xaa" * 8)
    present = network_hash(folder / "network.onnx").hex()
    refused(quantised, folder, said, f"runs tiny with hash aaaaaaaaaaaaaaaa, but .* {present}")


def test_other_roms(quantised, folder):
    """One bit of one signature; the layer is named."""
    refused(quantised, folder, answer(folder, flip=1), "the board's ROMs of fc do not hold")
    refused(quantised, folder, answer(folder, flip=0), "the board's ROMs of conv1 do not hold")


def test_other_build(quantised, folder):
    """ROMs of another folding: the build is named."""
    said = answer(folder, flip=0, build_id=b"build #2")
    builds = f"{b'build #2'.hex()}, .* is build {b'build #1'.hex()}"
    refused(quantised, folder, said, builds)


def test_fewer_layers(quantised, folder):
    """A board with a layer less is none of this network."""
    said = answer(folder)[:-4]
    said = said[: BLOCK_BYTES - 2] + b"\1\0" + said[BLOCK_BYTES:]
    refused(quantised, folder, said, "other ROMs|do not hold")


def test_unknown_network(quantised, folder, board):
    """No network of the name the board gives."""
    with pytest.raises(UserError, match="unknown network 'tiny'"):
        host.main(["--port", board.port, "bench"])


def test_no_build(quantised, folder, board):
    """Says how to make it."""
    with pytest.raises(UserError, match="convstream build tiny --board bench"):
        host.main(["--port", board.port, "--net", str(folder), "bench"])


def test_same_roms_of_another_build(quantised, folder, capsys, monkeypatch):
    """A newer bitstream with the same ROMs is the same network: compare."""
    monkeypatch.setattr(host, "BENCH_IMAGES", 2)
    with ModelBoard(quantised, answer(folder, build_id=b"build #2")) as board:
        assert talk(board, folder, "bench") == 0


def test_data_of_ones_own(board, quantised, folder, tmp_path, capsys):
    """Class folders: numbers of their images, names of their classes, accuracy."""
    images = random_images(generator("1", "own"), quantised, 10)
    names = [f"d{label}" for label in range(10)]
    for name, image in zip(names, images, strict=True):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        Image.fromarray(image[0]).save(tmp_path / "zoo" / name / "one.png")
    data = ("--data", str(tmp_path / "zoo"))
    found = reference.argmax(reference.predict(quantised, images))
    assert talk(board, folder, "classify", *data, "3") == 0
    shown = capsys.readouterr().out
    assert names[found[3]] in shown and names[3] in shown
    assert talk(board, folder, "test", *data) == 0
    shown = capsys.readouterr().out
    accuracy = f"{100 * (found == np.arange(10)).mean():.2f} %"
    assert cells(shown, "10 ")[:5] == ["10", "100", "0", accuracy, accuracy]
    assert f"images: {tmp_path / 'zoo'}" in shown


# The user's own mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist", "--count", "0"], "'--count': 0 is not in the range x>=1"),
        (["mnist", "--count", "41"], "MNIST test holds 40 images, 41 were asked for"),
        (["classify", "40"], "image 40: MNIST test holds images 0 to 39"),
        (["classify", "missing.png"], "missing.png: no such file"),
        (["--baud", "fast", "identify"], "'--baud': 'fast' is not a valid integer"),
        (["--timeout", "0", "identify"], "'--timeout': 0.0 is not in the range x>0"),
        (["--timeout", "nan", "identify"], "'--timeout': nan is no finite number"),
    ],
)
def test_user_errors(board, folder, mnist, arguments, message):
    """One line each."""
    with pytest.raises(UserError, match=message):
        talk(board, folder, *arguments)


def test_exit_codes(board, folder, capsys):
    """0, 1, 2 as a shell sees them; errors are one line."""
    command = [sys.executable, "-m", "convstream.fpga.host", "--port", board.port]
    command += ["--net", str(folder), "--build", str(folder)]
    board.faults = [None, "wrong class"]

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [*command, *arguments], cwd=PACKAGE, capture_output=True, text=True, check=False
        )

    assert run("bench").returncode == 1
    assert run("identify").returncode == 0
    command[4] = "/dev/ttyNOT"
    done = run("identify")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: /dev/ttyNOT: no such port")


# The identity


def test_identity_layout():
    """Byte for byte."""
    said = Identity("ulx3s", "lenet5", b"hashhash", b"\1" * 8, 100_000_000, 784, (3, 28, 29), 10, 5)
    packed = said.pack()
    assert packed == (
        b"ulx3s" + bytes(11) + b"lenet5" + bytes(10) + b"hashhash" + b"\1" * 8
        + bytes.fromhex("00e1f505 10030000 1c00 1d00 0300 0a00 0500")
    )  # fmt: skip
    assert unpack(packed) == said
    assert bytes.fromhex(said.to_mem()) == packed
    assert said.to_mem().splitlines()[:2] == ["75", "6c"]
    assert unpack_reply(packed + struct.pack("<5I", *range(5))) == (said, (0, 1, 2, 3, 4))
    assert said.image_bytes == 3 * 28 * 29


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"board": "a board with a long name"}, "expected 1 to 16 letters"),
        ({"network": "ünet"}, "expected 1 to 16 letters"),
        ({"network": ""}, "expected 1 to 16 letters"),
        ({"network_hash": b"short"}, "a hash of 5 bytes"),
        ({"clock_hz": 2**32}, "expected 32 bits"),
        ({"classes": 0}, "expected 16 bits"),
        ({"input_shape": (3, 224, 224)}, "150,528 bytes: the link takes up to 65,535"),
    ],
)
def test_identity_that_cannot_be(folder, changes, message):
    """Names and numbers that the block has no room for."""
    with pytest.raises(UserError, match=message):
        dataclasses.replace(read_mem(folder / "identity.mem"), **changes)


def test_no_identity(tmp_path):
    """A missing or cut file."""
    with pytest.raises(UserError, match="no identity of a board .*; build it again"):
        read_mem(tmp_path / "identity.mem")
    (tmp_path / "identity.mem").write_text("00\n1")
    with pytest.raises(UserError, match="no identity of a board"):
        read_mem(tmp_path / "identity.mem")
    with pytest.raises(UserError, match="an identity of 5 bytes"):
        unpack(b"short")
