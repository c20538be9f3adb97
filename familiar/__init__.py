"""familiar: one goal, many small model calls on your own devices, and a reason for each of them."""

__version__ = "0.1.0"
