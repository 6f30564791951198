"""Verilog text: instances of modules, and the wires of the streams between them."""

from __future__ import annotations

from collections.abc import Sequence

Pair = tuple[str, str | int]
CLOCKED: list[Pair] = [("clk", "clk"), ("rst", "rst")]
SIGNALS = ("tdata", "tvalid", "tready")
WIDTH = 100


def product(*factors: str | int) -> str:
    """A Verilog expression; factors of 1 are left out."""
    return "*".join(str(factor) for factor in factors if factor != 1)


def localparams(prefix: str, pairs: Sequence[Pair]) -> str:
    """Constants of the top module, named after a stream or stage."""
    width = max(len(name) for name, _ in pairs)
    lines = [f"    localparam {prefix.upper()}_{name:<{width}} = {value};" for name, value in pairs]
    return "\n".join([*lines, "", ""])


def declared(stream: str, bits: str, tlast: bool = True, tuser: bool = False) -> str:
    """Declares the wires of a stream."""
    vector = f"[{bits}-1:0]"
    names = [(vector if signal == "tdata" else "", f"{stream}_{signal}") for signal in SIGNALS]
    names.append(("", tlast_of(stream, tlast)))
    if tuser:
        names.append(("[15:0]", f"{stream}_tuser"))
    return "".join(f"    wire {space:<{len(vector)}} {name};\n" for space, name in names) + "\n"


def tlast_of(stream: str, used: bool) -> str:
    """The name of a stream's tlast; `unused_` tells lint that nothing reads it."""
    return f"{stream}_tlast" if used else f"unused_{stream}_tlast"


def sink(*streams: str, tlast: bool = False) -> list[Pair]:
    """Connect a module's `s_axis` to streams; layers count their beats and take no tlast."""
    signals = SIGNALS + ("tlast",) * tlast
    return [
        (f"s_axis_{signal}", together([f"{s}_{signal}" for s in streams])) for signal in signals
    ]


def source(*streams: str, tlast: bool = True) -> list[Pair]:
    """Connect a module's `m_axis` to streams, which may leave their tlast unused."""
    ports: list[Pair] = [
        (f"m_axis_{signal}", together([f"{stream}_{signal}" for stream in streams]))
        for signal in SIGNALS
    ]
    return [*ports, ("m_axis_tlast", together([tlast_of(stream, tlast) for stream in streams]))]


def together(signals: Sequence[str]) -> str:
    """Signals as one, the first in the lowest bits."""
    return signals[0] if len(signals) == 1 else "{" + ", ".join(reversed(signals)) + "}"


def instance(module: str, name: str, parameters: Sequence[Pair], ports: Sequence[Pair]) -> str:
    """An instance, a connection a line."""
    text = f"    {module} "
    if parameters:
        text += f"#(\n{_connections(parameters)}\n    ) "
    return text + f"{name} (\n{_connections(ports)}\n    );\n"


def _connections(pairs: Sequence[Pair]) -> str:
    width = max(len(key) for key, _ in pairs)
    lines = []
    for key, value in pairs:
        start = f"        .{key:<{width}} ("
        line = f"{start}{value})"
        if len(line) > WIDTH:
            line = line.replace(", ", ",\n" + " " * (len(start) + 1))
        lines.append(line)
    return ",\n".join(lines)
