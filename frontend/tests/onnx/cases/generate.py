"""Writes onnx.json: small ONNX models, inputs, and outputs as onnxruntime computes them.

    pip install onnx==1.23.2 onnxruntime==1.31.1 numpy && python generate.py > onnx.json
"""

import json

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from onnxruntime import InferenceSession

FLOAT = TensorProto.FLOAT
rng = np.random.default_rng(7)
cases = []


def f(*shape, low=-2.0, high=2.0):
    """Random floats of few digits."""
    return rng.uniform(low, high, shape).round(2).astype(np.float32)


def i(*values):
    return np.array(values, dtype=np.int64)


def case(name, op, x, *operands, opset=17, n_outputs=1, **attrs):
    """One node on input `x`; arrays in `operands` become initialisers, None is an absent operand."""
    names = ["x"] + [f"c{k}" if c is not None else "" for k, c in enumerate(operands)]
    weights = {n: c for n, c in zip(names[1:], operands) if c is not None}
    outputs = [f"y{k}" for k in range(n_outputs)]
    case_of(name, [helper.make_node(op, names, outputs, **attrs)], {"x": x}, weights, outputs, opset)


def case_of(name, nodes, inputs, weights, outputs, opset=17):
    def info(n, a):
        return helper.make_tensor_value_info(n, FLOAT, a.shape)

    graph = helper.make_graph(
        nodes,
        name,
        [info(n, a) for n, a in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, None) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    results = InferenceSession(model.SerializeToString()).run(None, inputs)
    for value, result in zip(model.graph.output, results):
        value.CopyFrom(helper.make_tensor_value_info(value.name, FLOAT, result.shape))
    checker.check_model(model, full_check=True)

    def numbers(a):
        assert a.dtype == np.float32, (name, a.dtype)
        return [float(f"{v:.9g}") for v in a.ravel()]

    cases.append(
        {
            "name": name,
            "model": model.SerializeToString().hex(),
            "inputs": {n: numbers(a) for n, a in inputs.items()},
            "outputs": [{"shape": list(r.shape), "values": numbers(r)} for r in results],
        }
    )


node = helper.make_node

# Convolutions and pools.
x1, x2 = f(1, 2, 9), f(1, 4, 6, 7)
case("conv_1d", "Conv", x1, f(3, 2, 3), f(3), strides=[2], pads=[2, 1])
case("conv_1d_dilated", "Conv", x1, f(1, 2, 3), dilations=[3], kernel_shape=[3])
case("conv_2d", "Conv", x2, f(2, 4, 3, 3), f(2))
case("conv_2d_asymmetric", "Conv", x2, f(2, 4, 3, 2), pads=[1, 0, 2, 1], strides=[2, 3])
case("conv_2d_groups", "Conv", x2, f(6, 2, 3, 3), f(6), group=2, pads=[1, 1, 1, 1])
case("conv_2d_depthwise_dilated", "Conv", x2, f(4, 1, 2, 3), group=4, dilations=[2, 2])
for auto_pad in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
    case(f"conv_{auto_pad.lower()}", "Conv", x2, f(1, 4, 4, 3), auto_pad=auto_pad, strides=[2, 2])
    case(f"max_pool_{auto_pad.lower()}", "MaxPool", x2, kernel_shape=[3, 2], auto_pad=auto_pad, strides=[2, 2])
case("conv_opset_7", "Conv", x2, f(1, 4, 2, 2), opset=7)
case("average_pool", "AveragePool", x2, kernel_shape=[2, 3], strides=[2, 2])
case("average_pool_1d", "AveragePool", x1, kernel_shape=[4], strides=[3], pads=[1, 2])
case("average_pool_count", "AveragePool", x2, kernel_shape=[3, 3], pads=[1, 2, 1, 0], count_include_pad=1)
case("average_pool_ceil", "AveragePool", f(1, 1, 6, 6), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, opset=22)
case("average_pool_ceil_opset_10", "AveragePool", f(1, 1, 6), kernel_shape=[3], strides=[2], ceil_mode=1, opset=10)
case("average_pool_ceil_padded", "AveragePool", f(1, 1, 5, 6), kernel_shape=[3, 3], strides=[3, 2],
     pads=[1, 1, 0, 1], ceil_mode=1, opset=22)
case("average_pool_ceil_count", "AveragePool", f(1, 1, 8, 5), kernel_shape=[3, 2], strides=[2, 2],
     pads=[1, 1, 0, 1], ceil_mode=1, count_include_pad=1, opset=22)
case("max_pool", "MaxPool", x2, kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 0, 1])
case("max_pool_1d", "MaxPool", x1, kernel_shape=[3])
case("max_pool_ceil", "MaxPool", f(1, 1, 6, 5), kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, opset=22)
case("max_pool_ceil_ignored", "MaxPool", f(1, 1, 5), kernel_shape=[1], strides=[3], ceil_mode=1, opset=22)
case("global_average_pool", "GlobalAveragePool", x2)
case("global_max_pool", "GlobalMaxPool", x2)

# Matrix products and normalisation.
a = f(1, 5)
case("gemm", "Gemm", a, f(5, 3), f(3))
case("gemm_transposed", "Gemm", f(4, 2), f(3, 4), f(2, 1), alpha=0.5, beta=-2.0, transA=1, transB=1)
case("gemm_no_c", "Gemm", a, f(5, 2), opset=11)
case("gemm_opset_7", "Gemm", a, f(5, 2), f(1, 2), opset=7)
case("matmul", "MatMul", a, f(5, 4))
case("matmul_vector_right", "MatMul", f(2, 5), f(5))
case("matmul_vector_left", "MatMul", f(5), f(2, 5, 3))
case("matmul_dot", "MatMul", f(5), f(5))
case("matmul_stacked", "MatMul", f(2, 1, 3, 4), f(3, 4, 2))
case("batch_norm", "BatchNormalization", f(1, 3, 2, 2), f(3), f(3), f(3), f(3, low=0.2), epsilon=0.01)
case("batch_norm_matrix", "BatchNormalization", f(1, 3), f(3), f(3), f(3), f(3, low=0.2), opset=9)

# Arithmetic.
b = f(1, 2, 3)
for op in ["Add", "Sub", "Mul"]:
    case(op.lower(), op, b, f(2, 1))
    case(f"{op.lower()}_opset_7", op, b, f(4, 1, 1, 3), opset=7)
    case_of(f"{op.lower()}_inputs", [node(op, ["x", "z"], ["y"])], {"x": b, "z": f(3)}, {}, ["y"])
case("div", "Div", b, f(3, low=1.0))
case_of("div_computed", [node("Div", ["x", "z"], ["y"])], {"x": b, "z": f(3, low=1.0)}, {}, ["y"])
case_of("div_constant", [node("Div", ["c", "x"], ["y"])], {"x": f(3, low=1.0)}, {"c": f(1)}, ["y"])
case("neg", "Neg", b)
case("sum", "Sum", b, f(2, 3), f(3), opset=13)
case_of("square", [node("Mul", ["x", "x"], ["y"])], {"x": b}, {}, ["y"])
for exponent in [1, 2, 3, 0.5, -1, -2, 1.5, -0.5]:
    case(f"pow_{exponent}", "Pow", f(4, low=0.5), np.float32(exponent).reshape(()))
case("pow_integer", "Pow", b, i(3))

# Functions.
for op in ["Relu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Softplus", "LeakyRelu", "Erf", "Exp", "Abs"]:
    case(op.lower(), op, f(7, low=-5, high=5))
case("leaky_relu_alpha", "LeakyRelu", b, alpha=0.3)
case("hard_sigmoid_alpha", "HardSigmoid", b, alpha=0.4, beta=0.6)
case("prelu", "PRelu", f(1, 2, 3), f(2, 1))
case("sqrt", "Sqrt", f(5, low=0.1))
case("reciprocal", "Reciprocal", f(5, low=0.3))
case("gelu", "Gelu", f(6), opset=20)
case("gelu_tanh", "Gelu", f(6), opset=20, approximate="tanh")
case("clip", "Clip", b, np.float32(-0.5).reshape(()), np.float32(0.7).reshape(()))
case("clip_low", "Clip", b, np.float32(-0.5).reshape(()))
case("clip_high", "Clip", b, None, np.float32(0.7).reshape(()))
case("clip_relu", "Clip", b, np.float32(0.0).reshape(()))
case("clip_nothing", "Clip", b)
case("clip_opset_6_form", "Clip", b, opset=10, min=-0.25, max=1.0)

# Reductions.
for opset in [12, 18]:
    axes = {"axes": [-1, 1]} if opset < 18 else {}
    operand = [i(-1, 1)] if opset == 18 else []
    case(f"reduce_mean_{opset}", "ReduceMean", x2, *operand, opset=opset, **axes)
    case(f"reduce_sum_{opset}", "ReduceSum", x2, *operand, opset=opset, keepdims=0, **axes)
case("reduce_mean_all", "ReduceMean", b, keepdims=0)
case("reduce_sum_noop", "ReduceSum", b, opset=13, noop_with_empty_axes=1)
case("softmax", "Softmax", b)
case("softmax_axis", "Softmax", b, axis=1)
case("softmax_flattened", "Softmax", b, opset=11)
case("softmax_flattened_last", "Softmax", b, opset=11, axis=2)

# Shapes and moves.
for axis in [0, 1, 3, -1]:
    case(f"flatten_{axis}", "Flatten", f(2, 3, 2), axis=axis)
case("reshape", "Reshape", f(1, 2, 6), i(0, -1, 3))
case("reshape_allow_zero", "Reshape", f(2, 3), i(3, 2), allowzero=1)
case("transpose", "Transpose", f(2, 3, 2), perm=[1, 2, 0])
case("transpose_reversed", "Transpose", f(2, 3, 2))
case("squeeze", "Squeeze", f(1, 2, 1, 3), i(0, -2))
case("squeeze_all", "Squeeze", f(1, 2, 1, 3))
case("squeeze_opset_11", "Squeeze", f(1, 2, 1, 3), opset=11, axes=[2])
case("unsqueeze", "Unsqueeze", f(2, 3), i(0, -1))
case("unsqueeze_opset_11", "Unsqueeze", f(2, 3), opset=11, axes=[1])
case("pad", "Pad", f(2, 3), i(1, 0, 2, 1), np.float32(1.5).reshape(()))
case("pad_axes", "Pad", f(2, 3, 2), i(1, 2), None, i(-2), opset=18)
case("pad_opset_2_form", "Pad", f(2, 3), opset=10, pads=[0, 1, 0, 2], value=0.5)
case("concat", "Concat", f(2, 3), f(2, 1), axis=-1)
case("slice", "Slice", f(4, 5), i(1, 0), i(3, -1))
case("slice_steps", "Slice", f(4, 7), i(-1, 1), i(-100, 100), i(1, 0), i(-3, 2))
case("slice_opset_9_form", "Slice", f(4, 5), opset=9, starts=[-3], ends=[9999], axes=[1])
case("split", "Split", f(6, 2), n_outputs=3)
case("split_sizes", "Split", f(2, 6), i(1, 4, 1), n_outputs=3, axis=1)
case("split_opset_2_form", "Split", f(2, 6), opset=11, n_outputs=2, axis=1, split=[2, 4])
case("split_num_outputs", "Split", f(7), opset=18, n_outputs=3, num_outputs=3)
case("gather_scalar", "Gather", f(2, 4), np.int64(-1).reshape(()), axis=1)
case("gather_many", "Gather", f(5, 2), i(3, 1, 1, 4, 2, 0), axis=0)
case("gather_matrix", "Gather", f(2, 4), np.array([[0, 1], [3, 2]], dtype=np.int64), axis=1)
case("identity", "Identity", b)
case("dropout", "Dropout", b)
case("dropout_opset_10", "Dropout", b, opset=10, ratio=0.3)
case("cast", "Cast", b, to=FLOAT)

# Subgraphs that exporters make.
case_of(
    "shape_arithmetic",
    [
        node("Shape", ["x"], ["s"]),
        node("Constant", [], ["zero"], value_int=0),
        node("Gather", ["s", "zero"], ["batch"]),
        node("Constant", [], ["axes"], value_ints=[0]),
        node("Unsqueeze", ["batch", "axes"], ["batch1"]),
        node("Slice", ["s", "one", "three"], ["tail"]),
        node("ReduceProd", ["tail"], ["n"], keepdims=1),
        node("Div", ["n", "two"], ["half"]),
        node("Concat", ["batch1", "two", "half"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ],
    {"x": f(1, 2, 6)},
    {"one": i(1), "two": i(2), "three": i(3)},
    ["y"],
)
case_of(
    "flatten_by_shape",
    [
        node("Shape", ["x"], ["s"], start=0, end=1),
        node("ConstantOfShape", ["one"], ["minus"], value=helper.make_tensor("v", TensorProto.INT64, [1], [-1])),
        node("Concat", ["s", "minus"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ],
    {"x": f(1, 2, 3)},
    {"one": i(1)},
    ["y"],
)
case_of(
    "range_gather_cast",
    [
        node("Size", ["x"], ["n"]),
        node("Range", ["zero", "n", "two"], ["even"]),
        node("Cast", ["even"], ["steps"], to=FLOAT),
        node("Gather", ["x", "even"], ["z"]),
        node("Mul", ["z", "steps"], ["y"]),
    ],
    {"x": f(7)},
    {"zero": np.int64(0).reshape(()), "two": np.int64(2).reshape(())},
    ["y"],
)
case_of(
    "erf_gelu",
    [
        node("Div", ["x", "root"], ["s"]),
        node("Erf", ["s"], ["e"]),
        node("Add", ["e", "one"], ["p"]),
        node("Mul", ["x", "p"], ["q"]),
        node("Mul", ["q", "half"], ["y"]),
    ],
    {"x": f(5)},
    {"root": np.float32(2**0.5).reshape(()), "one": np.float32(1).reshape(()), "half": np.float32(0.5).reshape(())},
    ["y"],
)
case_of(
    "silu_branches",
    [
        node("Sigmoid", ["x"], ["s"]),
        node("Mul", ["x", "s"], ["y"]),
        node("Relu", ["x"], ["dead"]),
        node("Neg", ["dead"], ["dead2"]),
        node("Identity", ["y"], ["z"]),
    ],
    {"x": f(5)},
    {},
    ["z", "y"],
)

print("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]")
