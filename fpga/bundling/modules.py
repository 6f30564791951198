"""Verilog as tokens: which modules a text declares and instantiates, and other names for them.

This is no parser: it reads the regular Verilog of rtl/ and of generated tops.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from convstream.model.hardware.names import KEYWORDS

# Comments, strings and directives name no module; a word may.
_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|`\w+|[A-Za-z_][\w$]*|\d[\w\']*|\S', re.S)
_WORD = re.compile(r"[A-Za-z_][\w$]*")


def _tokens(text: str) -> list[re.Match[str]]:
    return [token for token in _TOKEN.finditer(text) if not token[0].startswith(("//", "/*"))]


def _is_name(word: str) -> bool:
    return _WORD.fullmatch(word) is not None and word not in KEYWORDS


def references(text: str) -> Iterator[re.Match[str]]:
    """The tokens that name a module: behind `module`, or in front of `#(` or an instance's name."""
    tokens = _tokens(text)
    words = ["", *(token[0] for token in tokens), "", ""]
    for place, token in enumerate(tokens, 1):
        before, word, after, beyond = words[place - 1 : place + 3]
        instance = (after == "#" or _is_name(after)) and beyond == "("
        if _is_name(word) and (before == "module" or instance):
            yield token


def used(text: str, library: Mapping[str, str]) -> set[str]:
    """Modules of `library`, name to text, that a text instantiates, directly or through others."""
    found: set[str] = set()
    waiting = [text]
    while waiting:
        named = {token[0] for token in references(waiting.pop())}
        new = (named & library.keys()) - found
        found |= new
        waiting += [library[name] for name in new]
    return found


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with other names for the modules in `names`, old to new; nothing else changes."""
    return _replaced(text, references(text), lambda word: names.get(word, word))


def rooted(text: str, files: Collection[str], folder: str) -> str:
    """The text with the parameter `folder` in front of the strings that name one of `files`."""
    strings = (token for token in _tokens(text) if token[0].strip('"') in files)
    return _replaced(text, strings, lambda word: f"{{{folder}, {word}}}")


def _replaced(text: str, tokens: Iterator[re.Match[str]], new: Callable[[str], str]) -> str:
    parts, end = [], 0
    for token in tokens:
        parts += [text[end : token.start()], new(token[0])]
        end = token.end()
    return "".join([*parts, text[end:]])
