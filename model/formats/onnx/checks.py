"""Inputs and attributes of a file's nodes, and messages that name what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from onnx import AttributeProto, NodeProto, TensorProto, helper

from convstream.model.base.errors import UserError

MICROSOFT = "com.microsoft"


@contextmanager
def blame(node: NodeProto) -> Iterator[None]:
    """Put the node's name in front of what is wrong with it."""
    try:
        yield
    except UserError as error:
        name = text(node.name) or f"making {text(next(iter(node.output), ''))}"
        raise UserError(f"{text(node.op_type)} node {name}: {error}") from None


def text(name: str | bytes) -> str:
    """A name from the file, safe to print: on one line, not too long; bytes are broken UTF-8."""
    name = ascii(name if isinstance(name, str) else name.decode("utf-8", "replace"))[1:-1]
    return name if len(name) <= 60 else f"{name[:57]}..."


def type_name(data_type: int | None) -> str:
    """What ONNX calls an element type: `uint8`, `float`, ..."""
    try:
        return TensorProto.DataType.Name(data_type or 0).lower()
    except ValueError:
        return f"type {data_type}"


def is_standard(node: NodeProto) -> bool:
    """Whether the operator is one of the ONNX standard's own."""
    return node.domain in ("", "ai.onnx")


def is_known(node: NodeProto) -> bool:
    """Whether it is that, or ONNX Runtime's own."""
    return is_standard(node) or node.domain == MICROSOFT


def inputs(node: NodeProto, least: int, most: int) -> list[str]:
    """Names of the inputs, "" for each optional one that is not there."""
    if not least <= len(node.input) <= most or not all(node.input[:least]):
        expected = f"{least} to {most}" if least < most else str(least)
        raise UserError(f"{len(node.input)} inputs, expected {expected}; export it again")
    return [*node.input, *[""] * (most - len(node.input))]


def attributes(node: NodeProto, **defaults: Any) -> dict[str, Any]:
    """Attributes of the node, each of the type of its default; any other one is refused."""
    types = {
        int: AttributeProto.INT,
        float: AttributeProto.FLOAT,
        str: AttributeProto.STRING,
        list: AttributeProto.INTS,
    }
    values = dict(defaults)
    for attribute in node.attribute:
        default = defaults.get(attribute.name)
        if default is None or attribute.type != types[type(default)]:
            raise UserError(
                f"attribute {text(attribute.name)} is unknown or of the wrong type; export it "
                "without"
            )
        value = helper.get_attribute_value(attribute)
        values[attribute.name] = (
            value.decode("ascii", "replace") if isinstance(value, bytes) else type(default)(value)
        )
    return values


def expect(found: dict[str, Any], **expected: Any) -> None:
    """Refuse attributes that differ from the one value that is possible."""
    for name, value in expected.items():
        if found[name] != value:
            raise UserError(f"{name} {found[name]}, expected {value}; export it that way")
