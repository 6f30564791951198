"""The one place that makes torchvision import beside a CPU-only torch.

The torchvision of PyPI is built against a torch with CUDA. Beside a CPU-only torch its compiled
operators do not load, and it then fails at import because it describes two of them to torch.
Declaring their schemas first is enough; nothing here calls them.
"""

from __future__ import annotations

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[torch.library.Library] = []


def import_torchvision():
    """The `torchvision` module. Raises ImportError where it is not installed."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS.values():
            library.define(schema)
        # A library takes its operators along when it is collected.
        _libraries.append(library)
        import torchvision
    return torchvision
