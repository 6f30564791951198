"""Streaming int8 CNN accelerators in Verilog, and the proof that they are exact.

import convstream

convstream.export(module, calibrate=images, out="hw/my")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convstream.model.api import export as export
    from convstream.model.base.errors import UserError as UserError

__all__ = ["UserError", "export"]


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported when it is first asked for."""
    if name == "export":
        from convstream.model.api import export

        return export
    if name == "UserError":
        from convstream.model.base.errors import UserError

        return UserError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
