"""Limits on what is read and written, far beyond any network that could be simulated."""

MAX_FILE_BYTES = 32 << 20
MAX_STRUCTURE_BYTES = 2 << 20  # besides the weights
MAX_WEIGHTS = 32 << 20  # of all layers, which may share them in the file
MAX_FEATURES = 1 << 24  # an image, between two layers
MAX_EXPONENT = 120  # of a scale 2**+-exponent
