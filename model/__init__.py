"""Describe, train, quantise, fold and export small CNNs; the exact int8 reference."""
