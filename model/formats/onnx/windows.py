"""Windows of Conv and the pools, with what a file leaves to be computed resolved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onnx import NodeProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import attributes, expect, text
from convstream.model.formats.onnx.tensors import Tensor
from convstream.model.network.layers.windows import Window


def window(
    node: NodeProto, x: Tensor, kernel: list[int] | None = None, **more: Any
) -> tuple[Window, dict[str, Any]]:
    """A node's window on x, rows of one-dimensional ones added, and its attributes.

    kernel: the shape where the node does not give one. more: defaults of further attributes.
    `auto_pad` and `ceil_mode` are padding here.
    """
    rank = len(x.dims) - 1
    found = attributes(
        node, kernel_shape=[], strides=[], pads=[], dilations=[], auto_pad="", **more
    )
    sizes = {
        "kernel_shape": found["kernel_shape"] or kernel or [],
        "strides": found["strides"] or [1] * rank,
        "dilations": found["dilations"] or [1] * rank,
    }
    pads = found["pads"] or [0] * 2 * rank
    for name, values, count in (
        *((n, v, rank) for n, v in sizes.items()),
        ("pads", pads, 2 * rank),
    ):
        if len(values) != count:
            raise UserError(
                f"{name} {values[:8]}, expected {count} numbers for an input of {rank + 2} "
                "dimensions; export the network again"
            )
    missing = [1] * (2 - rank)
    (rows, columns), (down, right), (apart, across) = (missing + v for v in sizes.values())
    begins, ends = pads[:rank], pads[rank:]
    (top, left), (bottom, far) = ([0] * (2 - rank) + side for side in (begins, ends))
    made = Window((rows, columns), (down, right), (top, left, bottom, far), (apart, across))
    if found["auto_pad"] not in ("", "NOTSET"):
        made = _auto_padded(made, x, found["auto_pad"])
    return _with_last(made, x) if found.get("ceil_mode") else made, found


def _auto_padded(window: Window, x: Tensor, mode: str) -> Window:
    """The same with the padding that `auto_pad` stands for, before or behind the image."""
    if mode not in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        raise UserError(
            f"auto_pad {text(mode)}, expected NOTSET, VALID, SAME_UPPER or SAME_LOWER; export with "
            "explicit pads"
        )
    if mode == "VALID":
        return replace(window, padding=(0, 0, 0, 0))
    return window.same(x.shape, odd_before=mode == "SAME_LOWER")


def _with_last(window: Window, x: Tensor) -> Window:
    """The same with as much padding behind the image as `ceil_mode`'s last window needs.

    That window exists where it starts inside the image or the padding before it.
    """
    padding = list(window.padding)
    for axis, size in enumerate(x.shape[1:]):
        before, after = padding[axis], padding[axis + 2]
        stride, span = max(1, window.stride[axis]), window.span[axis]
        steps = -(-(before + size + after - span) // stride)
        if steps * stride >= before + size:
            steps -= 1
        padding[axis + 2] = max(after, steps * stride + span - before - size)
    top, left, bottom, right = padding
    return replace(window, padding=(top, left, bottom, right))


def expect_plain_pool(found: dict[str, Any]) -> None:
    """Refuse what no pool here does."""
    if "storage_order" in found:
        expect(found, storage_order=0)
