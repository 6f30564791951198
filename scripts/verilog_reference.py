"""What a Verilog module says of itself: header, parameters and ports, and a page that shows them.

Reads the regular style of rtl/ and fpga/rtl/: one module a file, one parameter or port a line, its
comment behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_DECLARATION = re.compile(r"\bmodule\s+(\w+)\s*(?:#\((.*?)^\)\s*)?\((.*?)^\);", re.M | re.S)
_PARAMETER = re.compile(r"parameter\s+(?:\[.*?\]\s+)?(\w+)\s*=\s*(.*)")
_PORT = re.compile(
    r"(input|output|inout)\s+(?:wire|reg)?\s*(?:signed)?\s*(?:\[(.*):0\])?\s*(\w+)(?:\s*=.*)?"
)
# A word that may name another module: behind "see", or no word of English.
_NAMED = re.compile(r"(?<=see )\w+|\b[a-z0-9]+(?:_[a-z0-9]+)+\b")
_PYTHON = re.compile(r"\bmodel(?:\.\w+)+")
_FILE = re.compile(r"\b(?:model|sim|fpga|tb)/[\w/]+\.py\b")


@dataclass(frozen=True)
class Parameter:
    """default: as written."""

    name: str
    default: str
    comment: str


@dataclass(frozen=True)
class Port:
    """direction: input, output or inout. width: as an expression of the parameters."""

    name: str
    direction: str
    width: str
    comment: str


@dataclass(frozen=True)
class Module:
    """header: the comment above the module, without its licence. path: of its file."""

    name: str
    path: Path
    header: str
    parameters: tuple[Parameter, ...]
    ports: tuple[Port, ...]
    text: str

    def instantiates(self, other: str) -> bool:
        """Whether it has an instance of the module `other`."""
        return re.search(rf"^\s*{other}\s+(#\(|\w+\s*\()", self.text, re.M) is not None


def read(path: Path) -> Module:
    """The module of a file. Raises `ValueError` where it is not in that style."""
    text = path.read_text(encoding="utf-8")
    found = _DECLARATION.search(text)
    if found is None:
        raise ValueError(f"{path}: no module in the style of rtl/")
    name, parameters, ports = found[1], found[2] or "", found[3]
    header = re.match(r"// SPDX[^\n]*\n//\n((?://[^\n]*\n)+)", text)
    if header is None:
        raise ValueError(f"{path}: no header comment")
    return Module(
        name=name,
        path=path,
        header=re.sub(r"^// ?", "", header[1], flags=re.M).strip(),
        parameters=tuple(
            Parameter(*_matched(_PARAMETER, code, path), comment)
            for code, comment in _lines(parameters)
        ),
        ports=tuple(_port(code, comment, path) for code, comment in _lines(ports)),
        text=text,
    )


def _lines(block: str) -> Iterator[tuple[str, str]]:
    """Declarations of a list, each with its comment, of which later lines may hold the rest.

    A comment in a line of its own, as far in as the declarations, is about what follows.
    """
    found: list[tuple[str, str]] = []
    above = ""
    for line in block.splitlines():
        code, _, comment = line.partition("//")
        code, comment = code.strip(), comment.strip()
        if code:
            found.append((code.rstrip(",").strip(), f"{above} {comment}".strip()))
            above = ""
        elif comment and line.startswith("    //"):
            above = comment
        elif comment:
            last, before = found.pop()
            found.append((last, f"{before} {comment}"))
    return iter(found)


def _matched(pattern: re.Pattern[str], code: str, path: Path) -> tuple[str, ...]:
    found = pattern.fullmatch(code)
    if found is None:
        raise ValueError(f"{path}: {code}: not in the style of rtl/")
    return found.groups()


def _port(code: str, comment: str, path: Path) -> Port:
    direction, upper, name = _matched(_PORT, code, path)
    return Port(name, direction, _width(upper), comment)


def _width(upper: str | None) -> str:
    """Bits from the upper bound of a range that ends at 0."""
    if upper is None:
        return "1"
    if upper.isdigit():
        return str(int(upper) + 1)
    return upper[:-2] if upper.endswith("-1") else f"{upper}+1"


class Pages:
    """Pages in Markdown for modules.

    link: the link from the module's own page to a file, given by its path from the root, or "".
    """

    def __init__(self, modules: list[Module], root: Path, link: Callable[[str], str]) -> None:
        self.modules = {module.name: module for module in modules}
        self._root = root
        self._link = link

    def page(self, module: Module) -> str:
        """Header, parameters, ports, relations to other modules, and the source."""
        parts = [f"# {module.name}", self._header(module)]
        if module.parameters:
            rows = [
                (f"`{one.name}`", f"`{one.default}`", self._words(one.comment, module))
                for one in module.parameters
            ]
            parts += ["## Parameters", _table(("parameter", "default", ""), rows)]
        ports = [
            (f"`{one.name}`", one.direction, f"`{one.width}`", self._words(one.comment, module))
            for one in module.ports
        ]
        parts += ["## Ports", _table(("port", "direction", "width", ""), ports)]
        related = {
            "Instantiates": [o for o in self.modules.values() if module.instantiates(o.name)],
            "Part of": [o for o in self.modules.values() if o.instantiates(module.name)],
        }
        if any(related.values()):
            parts.append("## Other modules")
        for relation, others in related.items():
            if others:
                names = ", ".join(f"[{o.name}]({self._to(o)})" for o in others)
                parts.append(f"{relation} {names}.")
        source = module.path.relative_to(self._root).as_posix()
        parts += [f"## Source\n\n`{source}`", f"```verilog\n{module.text.rstrip()}\n```"]
        return "\n\n".join(parts) + "\n"

    def summary(self, modules: list[Module]) -> str:
        """A table of modules, each with the first sentence of its header."""
        rows = [
            (f"[{one.name}]({self._to(one)})", _escape(_first_sentence(one.header)))
            for one in modules
        ]
        return _table(("module", "what it does"), rows)

    def _to(self, module: Module) -> str:
        return self._link(module.path.relative_to(self._root).as_posix())

    def _header(self, module: Module) -> str:
        """Paragraphs and lists as they are, indented lines as code."""
        parts: list[str] = []
        for paragraph in module.header.split("\n\n"):
            # Lines two or more columns in are formulas, unless they go on with a list.
            blocks: list[list[str]] = []
            kind = ""
            for line in paragraph.splitlines():
                if line.startswith("- "):
                    now = "list"
                elif not line.startswith("  "):
                    now = "text"
                else:
                    now = "list" if kind == "list" else "code"
                if now != kind:
                    blocks.append([])
                    kind = now
                blocks[-1].append(line)
                if now == "code":
                    blocks[-1][-1] = f"  {line}"  # four columns in
            for block in blocks:
                text = "\n".join(block)
                parts.append(text if text.startswith("    ") else self._words(text, module))
        return "\n\n".join(parts)

    def _words(self, text: str, module: Module) -> str:
        """Text with links to what it names."""

        def named(found: re.Match[str]) -> str:
            other = self.modules.get(found[0])
            if other is None or other is module:
                return found[0]
            return f"[{found[0]}]({self._to(other)})"

        def file(found: re.Match[str]) -> str:
            link = self._link(found[0])
            return f"[{found[0]}]({link})" if link else found[0]

        # Python names hold words that modules have, so each goes on only outside of these.
        parts = re.split(rf"(`[^`\n]*`|{_PYTHON.pattern}|{_FILE.pattern})", text)
        for place, part in enumerate(parts):
            if part.startswith("`"):
                continue
            if _PYTHON.fullmatch(part):
                parts[place] = f"[{_escape(part)}][convstream.{part}]"
            elif place % 2:
                parts[place] = _FILE.sub(file, part)
            else:
                parts[place] = _NAMED.sub(named, _escape(part))
        return "".join(parts)


def _escape(text: str) -> str:
    """Text in which Markdown finds no markup but lists. Underscores within words are none."""
    return re.sub(r"([*<>|\[\]])", r"\\\1", text).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _first_sentence(header: str) -> str:
    return re.split(r"(?<=[.:])\s", " ".join(header.split("\n\n")[0].split()))[0].rstrip(":")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
