"""The airport toy data set: everything in it is computed from a seed with numpy and OpenCV."""
