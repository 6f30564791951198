"""The walks of docs/, as written, where the package is installed: all blocks marked `console`."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_mnist

PACKAGE = Path(__file__).resolve().parents[1]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in PACKAGE.glob("docs/*.md")}
FILES = {
    page: dict(re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", text, re.M | re.S))
    for page, text in PAGES.items()
}
# By page and heading, its blocks of commands.
WALKS = {
    (page, section.splitlines()[0]): blocks
    for page, text in PAGES.items()
    for section in text.split("\n## ")
    if (blocks := re.findall(r"^```console\n(.*?)^```", section, re.M | re.S))
}
COMMANDS = {"python": [sys.executable], "convstream": [sys.executable, "-m", "convstream"]}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of commands that find the package as if it were installed, and small images as MNIST."""
    folder = tmp_path_factory.mktemp("installed")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE / "convstream", folder / "convstream", ignore=ignored)
    images = small_mnist.digits("walks", 1200)
    small_mnist.write(folder, images, images)
    return os.environ | {
        "PYTHONPATH": str(folder),
        "MNIST_ROOT": str(folder),
        "COLUMNS": "120",
        "PYTHONWARNINGS": "ignore",
    }


def steps(block: str) -> list[tuple[str, list[str]]]:
    """Commands of a block, each with the lines that it shows of their output."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def shows(output: str, line: str) -> bool:
    """Whether `line`, where ... stands for anything and blanks for blanks, is in the output."""
    pattern = r"\s+".join(map(re.escape, line.split())).replace(r"\.\.\.", ".*")
    return re.search(pattern, output) is not None


def test_every_walk_is_found() -> None:
    text = "".join(PAGES.values())
    assert sum(map(len, WALKS.values())) == text.count("```console")
    assert sum(map(len, FILES.values())) == text.count("```python") + text.count("```toml")
    assert {page for page, _ in WALKS} >= {"index.md", "your-own-network.md"}


@pytest.mark.slow
@pytest.mark.parametrize("walk", WALKS, ids=": ".join)
def test_walk(walk: tuple[str, str], environment: dict[str, str], tmp_path: Path) -> None:
    blocks = WALKS[walk]
    text = "\n".join(blocks)
    if "digits.py" in text or ".onnx" in text:
        pytest.importorskip("torch", reason="needs the extra [train]")
    if "aware.onnx" in text and importlib.util.find_spec("brevitas") is None:
        pytest.skip("needs brevitas")
    for name in re.findall(r"\S+\.tflite", text):
        pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
        source = Path(os.environ.get("MLPERF_TINY", "")) / name
        if not source.is_file():
            pytest.skip(f"needs {name}: set MLPERF_TINY to MLPerf Tiny's models")
        shutil.copyfile(source, tmp_path / name)
    for name, code in FILES[walk[0]].items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    for command, lines in [step for block in blocks for step in steps(block)]:
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [*COMMANDS[program], *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        for line in lines:
            assert shows(done.stdout, line), f"{command} does not print {line}\n{done.stdout}"
