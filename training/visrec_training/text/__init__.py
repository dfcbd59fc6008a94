"""Texts as numbers: one ONNX graph, of standard operators alone, that training and serving both run."""
