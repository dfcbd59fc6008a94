"""Small ONNX graphs, and repositories of them, to serve in tests."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

COMMITTED = Path(__file__).parents[2] / "model_repository"
ITEMS = [f"item-{number}" for number in range(150)]
WORDS = ["red", "rot", "красный", "赤い"]
TRITON_TYPES = {
    T.BOOL: "TYPE_BOOL",
    T.FLOAT: "TYPE_FP32",
    T.INT64: "TYPE_INT64",
    T.STRING: "TYPE_STRING",
    T.UINT8: "TYPE_UINT8",
}


def tensor(name, kind, *dims):
    return h.make_tensor_value_info(name, kind, ["batch", *dims])


def graph(nodes, inputs, outputs, **constants):
    initializers = [nh.from_array(np.asarray(value), name) for name, value in constants.items()]
    opsets = [h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)]
    model = h.make_model(
        h.make_graph(nodes, "graph", inputs, outputs, initializers), opset_imports=opsets, ir_version=9
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def add():
    """FIRST + SECOND, three numbers each."""
    return graph(
        [h.make_node("Add", ["FIRST", "SECOND"], ["SUM"])],
        [tensor("FIRST", T.FLOAT, 3), tensor("SECOND", T.FLOAT, 3)],
        [tensor("SUM", T.FLOAT, 3)],
    )


def lookup():
    """Strings to rows (-1 if unknown) and back ("" if unknown), and as they are."""
    rows = list(range(len(ITEMS)))
    return graph(
        [
            h.make_node(
                "LabelEncoder",
                ["WORD"],
                ["ROW"],
                domain="ai.onnx.ml",
                keys_strings=ITEMS,
                values_int64s=rows,
                default_int64=-1,
            ),
            h.make_node(
                "LabelEncoder",
                ["ROW"],
                ["KNOWN"],
                domain="ai.onnx.ml",
                keys_int64s=rows,
                values_strings=ITEMS,
                default_string="",
            ),
            h.make_node("Identity", ["WORD"], ["SAME"]),
        ],
        [tensor("WORD", T.STRING, 2)],
        [tensor("ROW", T.INT64, 2), tensor("KNOWN", T.STRING, 2), tensor("SAME", T.STRING, 2)],
    )


def pick():
    """A row of a table of four; fails for any other INDEX."""
    return graph(
        [h.make_node("Gather", ["table", "INDEX"], ["VALUE"])],
        [tensor("INDEX", T.INT64, 1)],
        [tensor("VALUE", T.FLOAT, 1)],
        table=np.arange(4, dtype=np.float32) * 10,
    )


def _multiplication():
    """What a Loop repeats: STATE times ROTATION, 192x192 each."""
    return h.make_graph(
        [
            h.make_node("Identity", ["go"], ["go_on"]),
            h.make_node("MatMul", ["state", "rotation"], ["next"]),
        ],
        "body",
        [
            h.make_tensor_value_info("i", T.INT64, []),
            h.make_tensor_value_info("go", T.BOOL, []),
            h.make_tensor_value_info("state", T.FLOAT, [192, 192]),
        ],
        [
            h.make_tensor_value_info("go_on", T.BOOL, []),
            h.make_tensor_value_info("next", T.FLOAT, [192, 192]),
        ],
    )


def slow():
    """COUNT multiplications of 192x192 matrices, one after the other: takes as long as it is told to."""
    identity = np.eye(192, dtype=np.float32)
    return graph(
        [
            h.make_node("ReduceMax", ["COUNT"], ["most"], keepdims=0),
            h.make_node("Loop", ["most", "", "start"], ["final"], body=_multiplication()),
            h.make_node("ReduceSum", ["final"], ["trace"], keepdims=0),
            h.make_node("Cast", ["COUNT"], ["shape"], to=T.FLOAT),
            h.make_node("Mul", ["shape", "zero"], ["zeros"]),
            h.make_node("Add", ["zeros", "trace"], ["DONE"]),
        ],
        [tensor("COUNT", T.INT64, 1)],
        [tensor("DONE", T.FLOAT, 1)],
        start=identity,
        rotation=identity,
        zero=np.float32(0),
    )


def slowly(model, output, count=300):
    """The same answers, a tenth of a second later."""
    identity = np.eye(192, dtype=np.float32)
    constants = {
        "many": np.array(count),
        "start": identity,
        "rotation": identity,
        "none": np.zeros((1, 1, 1), np.float32),
    }
    for node in model.graph.node:
        node.output[:] = [f"quick {name}" if name == output else name for name in node.output]
    model.graph.node.extend(
        [
            h.make_node("Loop", ["many", "", "start"], ["final"], body=_multiplication()),
            h.make_node("ReduceSum", ["final"], ["trace"], keepdims=0),
            h.make_node("Mul", ["trace", "none"], ["nothing"]),
            h.make_node("Add", [f"quick {output}", "nothing"], [output]),
        ]
    )
    model.graph.initializer.extend(nh.from_array(value, name) for name, value in constants.items())
    return model


def encoder(seed=1, width=496):
    rng = np.random.default_rng(seed)
    return graph(
        [
            h.make_node("Cast", ["IMAGE"], ["floats"], to=T.FLOAT),
            h.make_node("Transpose", ["floats"], ["channels"], perm=[0, 3, 1, 2]),
            h.make_node("AveragePool", ["channels"], ["pooled"], kernel_shape=[32, 32], strides=[32, 32]),
            h.make_node("Reshape", ["pooled", "grid"], ["flat"]),
            h.make_node("Transpose", ["flat"], ["regions"], perm=[0, 2, 1]),
            h.make_node("MatMul", ["regions", "weight"], ["REGIONS"]),
        ],
        [tensor("IMAGE", T.UINT8, 224, 224, 3)],
        [tensor("REGIONS", T.FLOAT, 49, width)],
        grid=np.array([0, 3, 49]),
        weight=rng.normal(size=(3, width)).astype(np.float32) / 255,
    )


def busy_encoder():
    """An encoder that spends some ten milliseconds of one core on a picture."""
    model = encoder()
    nodes = list(model.graph.node)
    burn = [
        h.make_node("Conv", ["channels", "kernels"], ["burnt"], pads=[3, 3, 3, 3]),
        h.make_node("ReduceMean", ["burnt"], ["left"], axes=[1, 2, 3]),
        h.make_node("Mul", ["left", "nothing"], ["zero"]),
        h.make_node("Add", ["pooled", "zero"], ["kept"]),
    ]
    (reshape,) = (node for node in nodes if node.op_type == "Reshape")
    reshape.input[0] = "kept"
    place = nodes.index(reshape)
    kernels = np.random.default_rng(0).normal(size=(48, 3, 7, 7)).astype(np.float32)
    constants = {name.name: nh.to_array(name) for name in model.graph.initializer}
    return graph(
        [*nodes[:place], *burn, *nodes[place:]],
        list(model.graph.input),
        list(model.graph.output),
        kernels=kernels,
        nothing=np.zeros((1, 1, 1, 1), np.float32),
        **constants,
    )


def attention(seed=2):
    rng = np.random.default_rng(seed)
    return graph(
        [
            h.make_node("MatMul", ["REGIONS", "look"], ["logits"]),
            h.make_node("Transpose", ["logits"], ["looks"], perm=[0, 2, 1]),
            h.make_node("Softmax", ["looks"], ["MAPS"], axis=-1),
            h.make_node("MatMul", ["MAPS", "REGIONS"], ["seen"]),
            h.make_node("MatMul", ["seen", "weight"], ["ASPECTS"]),
        ],
        [tensor("REGIONS", T.FLOAT, 49, 496)],
        [tensor("ASPECTS", T.FLOAT, 8, 64), tensor("MAPS", T.FLOAT, 8, 49)],
        look=rng.normal(size=(496, 8)).astype(np.float32) / 20,
        weight=rng.normal(size=(496, 64)).astype(np.float32) / 20,
    )


def fusion_scorer(release=1, seed=3):
    """Ranks as the real one does; of texts it understands each of WORDS, alone, and nothing else."""
    rng = np.random.default_rng(seed)
    rows = list(range(len(ITEMS)))
    table = rng.normal(size=(len(ITEMS) + 1, 64)).astype(np.float32)
    table[-1] = 0  # unknown ids
    return graph(
        [
            h.make_node(
                "LabelEncoder",
                ["HISTORY"],
                ["rows"],
                domain="ai.onnx.ml",
                keys_strings=ITEMS,
                values_int64s=rows,
                default_int64=len(ITEMS),
            ),
            h.make_node("Gather", ["table", "rows"], ["vectors"]),
            h.make_node("ReduceMean", ["vectors"], ["user"], axes=[1], keepdims=0),
            h.make_node("ReduceMean", ["ASPECTS"], ["picture"], axes=[1], keepdims=0),
            h.make_node(
                "LabelEncoder",
                ["TEXT"],
                ["word"],
                domain="ai.onnx.ml",
                keys_strings=WORDS,
                values_floats=[1.0 + place for place in range(len(WORDS))],
                default_float=0.0,
            ),
            h.make_node("Mul", ["word", "direction"], ["typed"]),
            h.make_node("Sum", ["user", "picture", "typed"], ["query"]),
            h.make_node("MatMul", ["query", "items"], ["logits"]),
            h.make_node("Softmax", ["logits"], ["share"], axis=-1),
            h.make_node("TopK", ["share", "k"], ["SCORE", "best"], axis=-1),
            h.make_node(
                "LabelEncoder",
                ["best"],
                ["ITEM_ID"],
                domain="ai.onnx.ml",
                keys_int64s=rows,
                values_strings=ITEMS,
            ),
            h.make_node("ReduceMean", ["MAPS"], ["map"], axes=[1], keepdims=0),
            h.make_node("Reshape", ["map", "grid"], ["ATTENTION"]),
            h.make_node("Less", ["rows", "count"], ["KNOWN"]),
            h.make_node("Sign", ["word"], ["UNDERSTOOD"]),
            h.make_node("Shape", ["TEXT"], ["batch"], start=0, end=1),
            h.make_node("Concat", ["batch", "one"], ["batch by one"], axis=0),
            h.make_node("Expand", ["release", "batch by one"], ["RELEASE"]),
        ],
        [
            tensor("ASPECTS", T.FLOAT, 8, 64),
            tensor("MAPS", T.FLOAT, 8, 49),
            tensor("HISTORY", T.STRING, 50),
            tensor("TEXT", T.STRING, 1),
        ],
        [
            tensor("ITEM_ID", T.STRING, 100),
            tensor("SCORE", T.FLOAT, 100),
            tensor("ATTENTION", T.FLOAT, 7, 7),
            tensor("KNOWN", T.BOOL, 50),
            tensor("UNDERSTOOD", T.FLOAT, 1),
            tensor("RELEASE", T.INT64, 1),
        ],
        table=table,
        direction=rng.normal(size=64).astype(np.float32),
        items=table[:-1].T.copy(),
        k=np.array([100]),
        grid=np.array([0, 7, 7]),
        count=np.array(len(ITEMS)),
        one=np.array([1]),
        release=np.array(release),
    )


def publish(repository, name, model, *, config="", dims=None):
    """Write a graph as version 1 of a model, with a config.pbtxt for its tensors."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    onnx.save(model, folder / "1" / "model.onnx")

    def describe(value):
        sizes = (dims or {}).get(value.name) or [d.dim_value for d in value.type.tensor_type.shape.dim[1:]]
        kind = TRITON_TYPES[value.type.tensor_type.elem_type]
        return f'{{ name: "{value.name}" data_type: {kind} dims: {list(sizes)} }}'

    inputs = ", ".join(map(describe, model.graph.input))
    outputs = ", ".join(map(describe, model.graph.output))
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: 8\n'
        f"input [ {inputs} ]\noutput [ {outputs} ]\n"
        f"instance_group [ {{ count: 1 kind: KIND_CPU }} ]\n{config}"
    )
    return repository


def keep_ports(server):
    """Have a server take the same ports when it is started again."""
    ports = {f"{name}_port": port for name, port in server.ports.items()}
    server.config = dataclasses.replace(server.config, **ports)


def parameter(key, value):
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def committed_repository(folder):
    """Copy the committed configs and put dummy graphs of the same shapes beside them as version 1."""
    configs = shutil.ignore_patterns("[0-9]*", "*.json")
    shutil.copytree(COMMITTED, folder, ignore=configs)
    for name, build in (("encoder", encoder), ("attention", attention), ("fusion_scorer", fusion_scorer)):
        (folder / name / "1").mkdir()
        onnx.save(build(), folder / name / "1" / "model.onnx")
    for name in ("recommender", "ranker", "embedder"):
        (folder / name / "1").mkdir()
    return folder
