"""TFLite: networks of int8 as TensorFlow Lite's converter quantises them.

Every tensor of such a file has its codes, so each operator is a layer of its own. How each is read
stands in one table, in `operators.py`. The arithmetic is that of LiteRT with XNNPACK, its default.
"""

from convstream.model.formats.tflite.reader import read_tflite

__all__ = ["read_tflite"]
