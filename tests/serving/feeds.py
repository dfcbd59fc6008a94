"""Tensors as tritonclient takes and gives them."""

import numpy as np
import tritonclient.grpc as grpcclient


def as_inputs(feeds):
    inputs = []
    for name, array in feeds.items():
        kind = {"f": "FP32", "i": "INT64", "u": "UINT8", "O": "BYTES"}[array.dtype.kind]
        inputs.append(grpcclient.InferInput(name, list(array.shape), kind))
        inputs[-1].set_data_from_numpy(array)
    return inputs


def as_str(array):
    if array.dtype != np.object_:
        return array
    return np.array([value.decode() for value in array.ravel()], dtype=object).reshape(array.shape)
