"""Streaming int8 CNN accelerators in Verilog, and the proof that they are exact."""
