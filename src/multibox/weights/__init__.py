"""Files of weights: read, written, recognised, and carried over to other classes."""
