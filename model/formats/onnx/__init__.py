"""ONNX: the one canonical form of a quantised network, and foreign files of the same kind.

The form is plain QDQ: integers stand in the file, DequantizeLinear gives them their scale,
and Conv, Gemm, Relu and pools are ordinary float operators: any ONNX tool opens it.
How each layer is read and written stands in one table, in `layers.py`.
"""

from convstream.model.formats.onnx.reader import read_onnx
from convstream.model.formats.onnx.writer import write_onnx

__all__ = ["read_onnx", "write_onnx"]
