"""Train a lightweight detector on your own objects and deploy it to OpenVINO."""

__version__ = "0.1.0"
