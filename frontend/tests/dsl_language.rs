//! What programs of the model language mean: the graphs they become and the numbers these compute.

use aphelion_frontend::dsl::{self, Import};
use aphelion_ir::nn::{NnOp, evaluate};
use aphelion_ir::text::print_graph;
use std::collections::BTreeMap;
use std::path::Path;

fn import(source: &str) -> Import {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    dsl::import_source("net.aph-model", source, &folder).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The results of a model of `x: f32[1, 4]` whose body is `statements`, at x = [1, -2, 3, 0.5].
fn run(statements: &str) -> Vec<f64> {
    let import = import(&format!("model net {{ input x: f32[1, 4]\n{statements}\n}}"));
    let inputs = BTreeMap::from([("x".to_string(), vec![1.0, -2.0, 3.0, 0.5])]);
    let outputs = evaluate(&import.graph, &inputs).expect("the graph can be evaluated");
    outputs.concat()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-12, "found {found:?}, expected {expected:?}");
    }
}

#[test]
fn operators_bind_as_in_mathematics() {
    assert_eq!(run("return -x ** 2"), [-1.0, -4.0, -9.0, -0.25]);
    assert_eq!(run("return (-x) ** 2 - 1"), [0.0, 3.0, 8.0, -0.75]);
    assert_eq!(run("return 1 - x - 1"), [-1.0, 2.0, -3.0, -0.5]);
    assert_eq!(run("return 8 / 2 / 2 * x"), [2.0, -4.0, 6.0, 1.0]);
    assert_eq!(run("return x * 2 ** 3 ** 0"), [2.0, -4.0, 6.0, 1.0]);
    assert_eq!(run("return 2 ** -1 * x"), [0.5, -1.0, 1.5, 0.25]);
    assert_eq!(run("return x + 1 |> relu"), [2.0, 0.0, 4.0, 1.5]);
    assert_eq!(run("return 2 / (x + 3)"), [0.5, 2.0, 1.0 / 3.0, 2.0 / 3.5]);
}

#[test]
fn layers_move_and_combine_elements() {
    assert_eq!(run("return concat([x, -x], axis = 0) |> sum(axes = 0)"), [0.0; 4]);
    assert_eq!(run("return slice(x, axis = 1, start = -3, end = -1)"), [-2.0, 3.0]);
    assert_eq!(run("return slice(x, 1, 0, step = 3)"), [1.0, 0.5]);
    assert_eq!(
        run("return x |> reshape([2, -1]) |> transpose |> flatten(axis = 0)"),
        [1.0, 3.0, -2.0, 0.5]
    );
    assert_eq!(
        run("return x |> pad([0, [1, 2]], value = 7)"),
        [7.0, 1.0, -2.0, 3.0, 0.5, 7.0, 7.0]
    );
    assert_eq!(run("return mean(x, axes = -1, keep_dims = true)"), [0.625]);
    assert_eq!(
        run("return x |> reshape([1, 1, 4]) |> max_pool(2, stride = 1)"),
        [1.0, 3.0, 3.0]
    );
    assert_eq!(run("return x |> reshape([1, 2, 2]) |> global_avg_pool"), [-0.5, 1.75]);
    assert_eq!(run("return x |> reshape([1, 2, 2]) |> avg_pool([2])"), [-0.5, 1.75]);
    assert_eq!(run("return matmul(x, transpose(x))"), [14.25]);
    assert_eq!(run("return linear(x, weight = reshape(x, [1, 4]), bias = 1)"), [15.25]);
    assert_eq!(
        run("return linear(reshape(x, [1, 2, 2]), weight = reshape(x, [2, 2]))"),
        [5.0, 2.0, 2.0, 9.25]
    );
}

#[test]
fn activations() {
    assert_eq!(run("return clip(x, low = -1, high = 1)"), [1.0, -1.0, 1.0, 0.5]);
    assert_eq!(run("return leaky_relu(x, alpha = 0.5)"), [1.0, -1.0, 3.0, 0.5]);
    assert_eq!(run("return poly(x, [1, 0, 2])"), [3.0, 9.0, 19.0, 1.5]);
    assert_close(
        &run("return hard_swish(x)"),
        &[4.0 / 6.0, -1.0 / 3.0, 3.0, 0.5 * 3.5 / 6.0],
    );
    assert_close(&run("return hard_sigmoid(x)"), &[0.7, 0.1, 1.0, 0.6]);
    assert_eq!(run("return prelu(x, slope = 0.25)"), [1.0, -0.5, 3.0, 0.5]);
    assert_close(
        &run("return abs(x) |> sqrt |> reciprocal"),
        &[1.0, 0.5f64.sqrt(), 1.0 / 3f64.sqrt(), 2f64.sqrt()],
    );
    for name in ["sigmoid", "tanh", "gelu", "gelu_tanh", "silu", "softplus", "erf", "exp"] {
        assert_eq!(run(&format!("return {name}(x)")).len(), 4, "{name}");
    }
    let total: f64 = run("return softmax(x)").iter().sum();
    assert!((total - 1.0).abs() < 1e-12);
}

#[test]
fn functions_have_defaults_and_their_own_names() {
    let source = "
fn scaled(x, by = 2 * 3, shift = -1) { let y = x * by  return y + shift }
model net {
    input x: f32[1, 2]
    let y = scaled(x)
    let z = scaled(x, shift = 0, by = 10)
    return y, z
}";
    let import = import(source);
    let inputs = BTreeMap::from([("x".to_string(), vec![1.0, 2.0])]);
    assert_eq!(
        evaluate(&import.graph, &inputs).expect("the graph can be evaluated"),
        [[5.0, 11.0], [10.0, 20.0]]
    );
    let names: Vec<&str> = import
        .graph
        .outputs()
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    assert_eq!(names, ["y", "z"]);
}

#[test]
fn origins_carry_names_and_spans() {
    let source = "model net {\n    input x: f32[1, 4]\n    let gate = sigmoid(x * 2)\n    return gate * x\n}\n";
    let import = import(source);
    for (_, node) in import.graph.iter() {
        let (start, end) = node.origin.span.expect("every op comes from the source");
        assert!(source.get(start as usize..end as usize).is_some());
        assert!(!node.origin.is_unknown());
    }
    insta::assert_snapshot!(print_graph(&import.graph).expect("constants are in memory"));
}

#[test]
fn dead_bindings_vanish_and_inputs_stay() {
    let import = import("model net { input x: f32[1, 2] input unused: f32[1, 3] let a = relu(x) return x }");
    assert_eq!(import.graph.len(), 2);
}

#[test]
fn weights_and_numbers_are_shared() {
    let import = import(
        "model net {
    weights w = \"mlp_credit.npz\"
    input x: f32[1, 61]
    let a = linear(x, w.fc1)
    let b = linear(x, weight = w[\"fc1.weight\"], bias = w.fc1.bias)
    return (a * 0.5) + (b * 0.5)
}",
    );
    let is_constant = |op: &NnOp| matches!(op, NnOp::Constant { .. });
    let n_constants = import.graph.iter().filter(|(_, node)| is_constant(&node.op)).count();
    assert_eq!(n_constants, 3);
}
