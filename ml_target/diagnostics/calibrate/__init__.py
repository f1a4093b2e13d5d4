"""A calibration set of the owner's own faces, for the compiler that makes a HEF."""
