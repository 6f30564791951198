"""The real tops of boards in Verilator, behind a pseudo-terminal, and what a host makes of them."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import serial
from random_networks import generator

from convstream.fpga import board_sim, boards, host, verify
from convstream.fpga.board_sim import Running, Simulator
from convstream.fpga.build import BUILD, prepare
from convstream.fpga.client import Board
from convstream.fpga.link import (
    BOARD_START,
    HOST_START,
    VERSION,
    Command,
    Frame,
    Link,
    Parser,
    Status,
    build_frame,
)
from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE
from convstream.model.learning.data import load_images
from convstream.model.network import reference
from convstream.model.network.examples import NETWORKS
from convstream.sim import tools
from convstream.sim.design import Design

pytestmark = pytest.mark.board

BOARD, NET = "icebreaker", "convnet"
BAUD = 3_000_000
SILENCE_S = 0.05


def compiled(board: str, net: str) -> Simulator:
    """Compiled by one test process, while the others wait for it."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f".{board}.{net}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return board_sim.build(net, boards.find(board))


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    """A small network on a small board."""
    return compiled(BOARD, NET)


@pytest.fixture(scope="module")
def running(simulator):
    """One board for many tests: what one leaves behind must not harm the next."""
    with Running(simulator) as running:
        yield running


@pytest.fixture(scope="module")
def digits(simulator) -> tuple[np.ndarray, np.ndarray]:
    """100 test images, uint8 (N, 1, 28, 28), and the reference's logits."""
    images = load_images("test").images[:100, None]
    design = Design.read(simulator.project.folder)
    return images, reference.predict(design.read_network(Path(design.folder)), images)


class Wire:
    """A port to which anything can be sent; a context manager."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.serial = serial.Serial(running.port, BAUD, timeout=0.01)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.serial.close()

    def exchange(self, data: bytes) -> list[Frame]:
        """Send, and take all frames that come until the board has nothing more to do."""
        self.serial.write(data)
        parser, found = Parser(BOARD_START, 200), []
        quiet = time.monotonic() + SILENCE_S
        end = time.monotonic() + 60
        while time.monotonic() < quiet:
            assert time.monotonic() < end, "the board does not stop talking"
            got = self.serial.read(1000)
            found += parser.feed(got)
            if got or state(self.running.process.pid) == "R":
                quiet = time.monotonic() + SILENCE_S
        return found


def stat(pid: int) -> list[str]:
    """What Linux says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def state(pid: int) -> str:
    """R while a process works, S while it waits."""
    return stat(pid)[0]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def request(command: int, tag: int = 7, payload: bytes = b"") -> bytes:
    """A frame as the host sends it."""
    return build_frame(HOST_START, command, tag, payload)


def check_well(port: str, digits) -> None:
    """The board works: three images right, after whatever was."""
    images, expected = digits
    with Link(port, BAUD) as link:
        board = Board(link)
        for image, logits in zip(images[:3], expected, strict=False):
            result = board.classify(image.tobytes())
            np.testing.assert_array_equal(result.logits, logits)
            assert result.label == np.argmax(logits)
        assert board.status().self_test_done
        assert link.retries == 0


# When all is well


def run_host(running: Running, *arguments: str) -> int:
    """The host program."""
    folder = str(running.simulator.project.folder)
    return host.main(["--port", running.port, "--build", folder, *arguments])


def test_100_images(running, capsys):
    """Every logit of 100 images, at full rate on chip, without a retry."""
    assert run_host(running, "mnist", "--count", "100") == 0
    (row,) = re.findall(r"│ 100 .*", capsys.readouterr().out)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[1:3] == ["1,000", "0"]
    assert cells[3] == cells[4]
    assert cells[-1] == "0"


def test_identity(running, simulator):
    """What the board says is what was built; its ROMs are what the files say."""
    with Link(running.port, BAUD) as link:
        board = Board(link)
    said, project = board.identity, simulator.project
    assert (said.board, said.network) == (project.board.name, project.name)
    assert (said.clock_hz, said.cycles_per_image) == (project.pll.hz, project.folded.cycles)
    expected = verify.signatures(Design.read(project.folder))
    assert list(board.signatures) == [value for _, value in expected]


def test_bench(running, capsys, monkeypatch):
    """A run on chip takes the cycles that it was built for."""
    monkeypatch.setattr(host, "BENCH_IMAGES", 10)
    assert run_host(running, "bench") == 0
    shown = capsys.readouterr().out
    built = running.simulator.project.folded.cycles
    (measured,) = re.findall(r"([\d,.]+) \(built for", shown)
    assert abs(float(measured.replace(",", "")) / built - 1) < 0.01


def test_cycles_are_exact(running, digits):
    """Each image takes the same cycles alone, and in a row as many as its folding says."""
    images, _ = digits
    with Link(running.port, BAUD) as link:
        board = Board(link)
        alone = {board.classify(image.tobytes()).cycles for image in images[:5]}
        assert len(alone) == 1
        counts = (1, 2, 9)
        cycles = [board.repeat(count, 5).cycles for count in counts]
    assert cycles[0] == alone.pop()
    interval = (cycles[2] - cycles[1]) / 7
    assert abs(interval / running.simulator.project.folded.cycles - 1) < 0.01


def test_two_hosts_in_a_row(running, capsys):
    """One after the other, and the second is not confused by the first."""
    tables = []
    for _ in range(2):
        assert run_host(running, "classify", "0", "1") == 0
        tables.append([line for line in capsys.readouterr().out.splitlines() if "│" in line])
    assert tables[0] == tables[1] != []


# Faults on the wire

CLASSIFY = 6 + 784 + 4


def classify(digits, index: int = 0, tag: int = 9) -> bytes:
    """A good frame."""
    return request(Command.CLASSIFY, tag, digits[0][index].tobytes())


def flipped(frame: bytes, bit: int) -> bytes:
    """One bit wrong."""
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


FAULTS = {
    "wrong CRC": (lambda f: f[:-1] + bytes([f[-1] ^ 1]), Status.WRONG_CRC),
    "pixel changed": (lambda f: flipped(f, 8 * 400 + 3), Status.WRONG_CRC),
    "tag changed": (lambda f: flipped(f, 8 * 3), Status.WRONG_CRC),
    "pixels swapped": (lambda f: f[:6] + f[6:-4][::-1] + f[-4:], Status.WRONG_CRC),
    "byte lost": (lambda f: f[:400] + f[401:], Status.TIMEOUT),
    "truncated": (lambda f: f[:500], Status.TIMEOUT),
    "header alone": (lambda f: f[:6], Status.TIMEOUT),
    "start byte alone": (lambda f: f[:1], Status.TIMEOUT),
    "no CRC": (lambda f: f[:-4], Status.TIMEOUT),
    "byte doubled": (lambda f: f[:400] + f[400:401] + f[400:], Status.WRONG_CRC),
    "unknown command": (lambda f: request(77, 9), Status.UNKNOWN_COMMAND),
    "command 0": (lambda f: request(0, 9), Status.UNKNOWN_COMMAND),
    "image too short": (lambda f: request(Command.CLASSIFY, 9, f[6:789]), Status.WRONG_LENGTH),
    "image too long": (lambda f: request(Command.CLASSIFY, 9, f[6:791]), Status.WRONG_LENGTH),
    "no image": (lambda f: request(Command.CLASSIFY, 9), Status.WRONG_LENGTH),
    "identify with a payload": (lambda f: request(Command.IDENTIFY, 9, b"x"), Status.WRONG_LENGTH),
    "repeat without a count": (lambda f: request(Command.REPEAT, 9), Status.WRONG_LENGTH),
    "status with much payload": (
        lambda f: request(Command.STATUS, 9, bytes(5000)),
        Status.WRONG_LENGTH,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(running, digits, fault):
    """One error, with its code, and the next frame is served."""
    damage, code = FAULTS[fault]
    with Wire(running) as wire:
        before = wire.exchange(request(Command.STATUS, 1))
        assert [frame.tag for frame in before] == [1]
        found = wire.exchange(damage(classify(digits)))
        assert [frame.payload for frame in found] == [bytes([code])]
        after = wire.exchange(request(Command.STATUS, 2))
    _, errors, _, _ = struct.unpack("<HHBB", before[0].payload[1:])
    assert struct.unpack("<xHHBB", after[0].payload)[1:3] == ((errors + 1) & 0xFFFF, code)
    check_well(running.port, digits)


def test_unknown_version(running, digits):
    """A version of the future, its CRC right."""
    body = bytes([VERSION + 1, Command.STATUS, 5, 0, 0])
    data = bytes([HOST_START]) + body + zlib.crc32(body).to_bytes(4, "little")
    with Wire(running) as wire:
        assert wire.exchange(data) == [Frame(Command.STATUS, 5, bytes([Status.UNKNOWN_VERSION]))]
    check_well(running.port, digits)


def test_error_names_the_frame(running, digits):
    """Command and tag of the frame that was wrong."""
    with Wire(running) as wire:
        (answer,) = wire.exchange(FAULTS["wrong CRC"][0](classify(digits, tag=200)))
        assert answer == Frame(Command.CLASSIFY, 200, bytes([Status.WRONG_CRC]))
        (answer,) = wire.exchange(classify(digits)[:3])
        assert answer == Frame(Command.CLASSIFY, 0, bytes([Status.TIMEOUT]))


def test_damaged_image_is_not_kept(running, digits):
    """After a wrong image there is none: `repeat` must not count what nobody has confirmed."""
    images, expected = digits
    with Wire(running) as wire:
        (good,) = wire.exchange(classify(digits))
        assert good.payload[0] == Status.OK
        assert good.payload[7:] == expected[0].astype("<i4").tobytes()
        (again,) = wire.exchange(request(Command.REPEAT, 3, b"\2\0"))
        assert again.payload[0] == Status.OK
        wire.exchange(FAULTS["pixel changed"][0](classify(digits, 1)))
        (refused,) = wire.exchange(request(Command.REPEAT, 4, b"\2\0"))
        assert refused == Frame(Command.REPEAT, 4, bytes([Status.NO_IMAGE]))
    check_well(running.port, digits)


def test_gap_within_a_frame(running, digits):
    """A pause longer than the timeout ends the frame; its rest is not taken for another one."""
    frame = classify(digits)
    with Wire(running) as wire:
        found = wire.exchange(frame[:300])
        assert [frame.payload for frame in found] == [bytes([Status.TIMEOUT])]
        assert wire.exchange(frame[300:]) == []
    check_well(running.port, digits)


def test_bytes_after_a_frame(running, digits):
    """What comes while the board answers is ignored; the answer is right."""
    with Wire(running) as wire:
        found = wire.exchange(classify(digits) + b"more" * 20)
        assert found[0].payload[7:] == digits[1][0].astype("<i4").tobytes()
        assert len(found) == 1
    check_well(running.port, digits)


def test_noise(running, digits, seed):
    """Random bytes, much of it like the start of a frame: bounded answers, all of them errors."""
    rng = generator(seed, "noise")
    with Wire(running) as wire:
        for size in (1, 10, 100, 1000, 4000):
            for noise in (
                rng.bytes(size),
                rng.choice([HOST_START, VERSION, 2, 16, 3], size).astype(np.uint8).tobytes(),
                bytes([HOST_START]) * size,
                bytes(size),
            ):
                found = wire.exchange(noise)
                assert all(frame.payload[0] != Status.OK for frame in found)
                assert len(found) <= 1 + size // 10
    check_well(running.port, digits)


def mutate(rng, frame: bytes) -> bytes:
    """Bytes lost, doubled, swapped, changed, inserted; or the frame cut."""
    changed = bytearray(frame)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(changed)))
        kind = rng.integers(6)
        if kind == 0:
            del changed[at : at + int(rng.integers(1, 9))]
        elif kind == 1:
            changed[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 2:
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 3:
            changed[at:at] = changed[at : at + 1]
        elif kind == 4:
            del changed[at + 1 :]
        else:
            changed[at : at + 9] = changed[at : at + 9][::-1]
    return bytes(changed)


def fuzz(running, digits, rng, count: int) -> None:
    """Damaged frames: the answer is an error or none, or the frame was whole after all."""
    images, expected = digits
    with Wire(running) as wire:
        for _ in range(count):
            index = int(rng.integers(len(images)))
            for frame in wire.exchange(mutate(rng, classify(digits, index, 1))):
                if frame.payload[0] == Status.OK and frame.command == Command.CLASSIFY:
                    assert frame.payload[7:] == expected[index].astype("<i4").tobytes()
            found = wire.exchange(classify(digits, index, 2))
            assert [frame.payload[7:] for frame in found] == [
                expected[index].astype("<i4").tobytes()
            ]


def test_damaged_images(running, digits, seed):
    """A few damaged frames."""
    fuzz(running, digits, generator(seed, "fuzz"), 20)


@pytest.mark.slow
def test_many_damaged_images(running, digits, seed):
    """Many damaged frames."""
    fuzz(running, digits, generator(seed, "long fuzz"), 200)
    check_well(running.port, digits)


@pytest.mark.parametrize("baud", [1_500_000, 2_000_000, 4_000_000])
def test_wrong_baud_rate(running, digits, baud):
    """One line; at the right rate all is well again."""
    with pytest.raises(UserError, match="baud rate|silent|the board answers"):
        host.main(["--port", running.port, "--baud", str(baud), "--timeout", "0.3", "identify"])
    check_well(running.port, digits)


def test_baud_rate_a_little_off(running, digits):
    """2 % is what crystals and dividers may differ."""
    for baud in (2_940_000, 3_060_000):
        with Link(running.port, baud) as link:
            board = Board(link)
            for image, logits in zip(digits[0][:3], digits[1], strict=False):
                np.testing.assert_array_equal(board.classify(image.tobytes()).logits, logits)


# Hosts and cables that come and go


@pytest.mark.parametrize("sent", [1, 5, 300, CLASSIFY - 1, CLASSIFY])
def test_host_killed(running, digits, sent):
    """A host dies after so many bytes of an image: the next one gets its own answers at once."""
    with Wire(running) as wire:
        wire.serial.write(classify(digits, 5)[:sent])
    check_well(running.port, digits)


def test_host_killed_amid_answers(running, digits):
    """A host dies while the board answers, its answers unread."""
    with Wire(running) as wire:
        for tag in range(1, 30):
            wire.serial.write(request(Command.IDENTIFY, tag))
            time.sleep(0.003)
    check_well(running.port, digits)


def test_cable_pulled(simulator, digits):
    """The port vanishes under a host, which says so; another board, another port, all is well."""
    with Running(simulator) as running:
        command = [sys.executable, "-m", "convstream.fpga.host", "--port", running.port]
        command += ["--build", str(simulator.project.folder), "mnist", "--count", "1000"]
        process = subprocess.Popen(
            command, cwd=PACKAGE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            # Amid the images: all else takes the board less.
            while cpu_seconds(running.process.pid) < 0.5:
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            running.process.kill()
            _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert re.fullmatch(r"error: /dev/pts/\d+: the connection broke; .*", error.splitlines()[-1])
    with Running(simulator) as running:
        check_well(running.port, digits)


def test_idle_board_rests(running, digits):
    """Without anything on the wire the clock stands still."""
    check_well(running.port, digits)
    time.sleep(0.3)
    before = cpu_seconds(running.process.pid)
    time.sleep(1)
    assert cpu_seconds(running.process.pid) - before < 0.1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command(simulator, digits, number):
    """`make board-sim`: names a port that works, ends when told to, leaves nothing behind."""
    command = [sys.executable, "-m", "convstream.fpga.board_sim", "--board", BOARD, "--net", NET]
    process = subprocess.Popen(command, cwd=PACKAGE, stdout=subprocess.PIPE, text=True)
    try:
        while not (found := re.search(r"--port (\S+)", process.stdout.readline())):
            assert process.poll() is None
        check_well(found[1], digits)
        process.send_signal(number)
        assert process.wait(10) == 0
        assert not Path(found[1]).exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# All boards


@pytest.mark.parametrize("board", boards.BOARDS)
def test_top_elaborates(board, tmp_path):
    """Every top, with the cells that it is made of."""
    project = prepare(NET, boards.find(board), tmp_path / NET)
    settings, files = board_sim.reading(project)
    environment = tools.build_environment("verilator")
    program = shutil.which("verilator", path=environment["PATH"])
    flags = ["--lint-only", "--no-timing", "--default-language", "1364-2005", "-Wno-fatal"]
    done = subprocess.run(
        [program, *flags, *settings, *map(str, files)],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("board", "net"),
    [
        pytest.param(board, net, marks=() if (board, net) == ("ulx3s", NET) else pytest.mark.slow)
        for board in boards.BOARDS
        for net in NETWORKS
    ],
)
def test_every_board(board, net, capsys, seed):
    """100 images and a few damaged ones, of each network on each board that it fits."""
    try:
        simulator = compiled(board, net)
    except UserError as error:
        if not re.search(r"does not fit|needs .* Mbit of weights", str(error)):
            raise
        pytest.skip(str(error))
    with Running(simulator) as running:
        assert run_host(running, "mnist", "--count", "100") == 0
        images = load_images("test").images[:10, None]
        design = Design.read(simulator.project.folder)
        expected = reference.predict(design.read_network(Path(design.folder)), images)
        fuzz(running, (images, expected), generator(seed, f"fuzz {board} {net}"), 10)
