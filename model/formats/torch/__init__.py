"""PyTorch: modules of the user's own code, their weights, and their trace in float ONNX.

`source` needs no torch, the others do.
"""
