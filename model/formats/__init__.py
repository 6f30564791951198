"""Files that others read or write: ONNX, C initialisers, hex tables."""
