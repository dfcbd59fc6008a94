"""From a checkpoint to a release in a Triton model repository, proven equal to PyTorch first.

`graphs` makes ONNX, `check` compares it with PyTorch, `repository` puts it in its place, `release` does the
three in turn.
"""
