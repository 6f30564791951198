"""Streaming int8 CNN accelerators in Verilog, bit-exact from ONNX to bitstream.

    convstream sim lenet5 -n 100            # stream images through the RTL, compare every logit
    convstream export my.onnx --out hw/my   # fold a network of your own
    convstream sim hw/my --data photos/
    convstream train my.toml --data photos/ # or train one here

Each command has a --help of its own.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import click

from convstream import versions
from convstream.model.base import errors, places
from convstream.model.base.commands import Command, Group, help_of
from convstream.model.base.errors import UserError

COMMANDS = {
    "sim": "convstream.sim.run",
    "export": "convstream.model.export",
    "quantise": "convstream.model.quantise",
    "train": "convstream.model.train",
    "evaluate": "convstream.model.evaluate",
    "compare": "convstream.sim.compare",
    "draw": "convstream.sim.draw",
    "report": "convstream.sim.report_page",
    "bench": "convstream.sim.bench",
    "bundle": "convstream.fpga.bundle",
    "build": "convstream.fpga.build",
    "netlist": "convstream.fpga.netlist",
    "board-sim": "convstream.fpga.board_sim",
    "host": "convstream.fpga.host",
}


class Commands(Group):
    """The commands of `COMMANDS`, each imported when it is called, and its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; its module is imported."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        try:
            main: Command = importlib.import_module(COMMANDS[cmd_name]).main
        except ModuleNotFoundError as error:
            # Whatever the others import is always there.
            raise UserError(
                f"convstream {cmd_name} needs the module {error.name}; install it with: "
                f"{places.extra('fpga')}"
            ) from None
        return main

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        rows = [(name, _summary(module)) for name, module in COMMANDS.items()]
        rows += [(name, one.get_short_help_str(80)) for name, one in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _summary(module: str) -> str:
    """The first sentence of a module's docstring."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].split(". ")[0].rstrip(".")


def _print_versions(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(versions.table())
        context.exit()


@click.group(
    "convstream",
    cls=Commands,
    help=help_of(__doc__),
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_versions,
    help="Print the versions of this and of all the tools that it calls.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Without a command, what there is."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command("bug-report", cls=Command)
def bug_report() -> None:
    """Print what a report of a bug should hold, to be pasted."""
    click.echo(f"```text\n{versions.table()}\n{'system':22}{versions.platform_text()}\n```")


def main() -> None:
    """The command `convstream`."""
    errors.run(cli)


if __name__ == "__main__":
    main()
