"""Trained policies as ONNX files that run without PyTorch."""
