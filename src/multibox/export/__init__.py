"""Exporting: a checkpoint becomes OpenVINO and ONNX files, each compared with the checkpoint before it is kept."""
