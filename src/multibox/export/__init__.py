"""Exporting: a checkpoint becomes OpenVINO and ONNX files, and each is compared with the checkpoint before it is kept."""
