//! What users of the model language see when something is wrong: rendered errors, with carets and notes.

use aphelion_frontend::dsl;
use std::path::Path;

/// The rendered errors of `source`, whose weight files lie with the example models.
fn errors(source: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models");
    match dsl::import_source("net.aph-model", source, &folder) {
        Ok(import) => panic!("no error in\n{source}\n{:?}", import.graph),
        Err(errors) => errors.to_string(),
    }
}

/// The errors of a model whose body is `statements`, with an input `x` and the weights of LeNet.
fn errors_in(statements: &str) -> String {
    errors(&format!(
        "model net {{\n    weights w = \"lenet_sq.safetensors\"\n    input x: f32[1, 1, 28, 28]\n{statements}\n}}\n"
    ))
}

macro_rules! snapshots {
    ($($name:ident: $errors:expr;)*) => { $(
        #[test]
        fn $name() {
            insta::assert_snapshot!(stringify!($name), $errors);
        }
    )* };
}

snapshots! {
    several_errors_in_one_run: errors_in(
        "    let a = cnov(x, w.conv1)
    let b = conv(x, weight = w.conv1.wieght, strides = 2)
    let c = relu(a +)
    let d = linear(x, w.fc1) + b
    return e",
    );
    shapes_are_shown_at_the_operands: errors_in(
        "    let a = conv(x, w.conv2)
    let b = x + w.fc1.weight
    let c = x |> flatten |> linear(w.fc2)
    return c",
    );
    errors_in_functions_name_the_call: errors(
        "fn block(x, params) {
    return relu(conv(x, params))
}

model net {
    weights w = \"lenet_sq.safetensors\"
    input x: f32[1, 1, 28, 28]
    return x |> block(w.conv1) |> block(w.conv1)
}
",
    );
    recursion: errors(
        "fn even(x) { return odd(x) }
fn odd(x) { return even(x) }
model net {
    input x: f32[1, 4]
    return even(x)
}
",
    );
    arity_and_names_of_arguments: errors_in(
        "    let a = relu()
    let b = relu(x, x)
    let c = avg_pool(x, sise = 2)
    let d = avg_pool(x, 2, size = 2)
    let e = conv(weight = w.conv1.weight, x)
    return x",
    );
    kinds_of_arguments: errors_in(
        "    let a = conv(x, w.conv1, stride = 1.5)
    let b = conv(x, w.conv1, pad = [1, 2, 3])
    let c = avg_pool(x, 2, count_include_pad = 1)
    let d = softmax(x, axis = 4)
    let e = linear(flatten(x), weight = w.fc1, bias = true)
    let f = poly(x, [])
    let g = clip(x, low = 1, high = 0)
    let h = reshape(x, [-1, -1])
    let i = reshape(x, [1, 5, -1])
    let j = slice(x, axis = 2, start = 5, end = 3)
    let k = concat(x)
    let l = mean(x, axes = [2, -2])
    let m = w.fc1 + 1
    return x",
    );
    weight_files: errors(
        "model net {
    weights a = \"../models/lenet_sq.safetensors\"
    weights b = \"missing.npz\"
    weights c = \"lenet_sq.onnx\"
    weights d = \"mlp_credit.npz\"
    input x: f32[1, 61]
    let y = linear(x, d.fc4)
    let z = linear(x, d[\"fc1/weight\"])
    let u = linear(x, a.fc1)
    let v = batch_norm(x, d.fc1)
    return linear(x, d)
}
",
    );
    inputs: errors(
        "model net {
    input a: f64[1, 4]
    input b: f32[28, 28]
    input c: f32[1, 0]
    input d: f32[1, 2.5] in [1, 0]
    input e: f32[1, 4] in [1, 0]
    input e: f32[1, 4]
    input f: f32[1, 4294967296, 2]
    return e
}
",
    );
    results: errors_in(
        "    return x, x, 1, relu(x)
    let y = relu(x)",
    );
    model_without_result: errors_in("");
    file_without_model: errors("fn id(x) { return x }\n");
    empty_file: errors("");
    two_models_and_bad_functions: errors(
        "fn relu(x) { return x }
fn twice(x, x) { return x + x }
fn twice(y) { let a.b = 1 }
model a { input x: f32[1, 4] return twice(x) }
model b { }
",
    );
    names_and_members: errors_in(
        "    let y = relu(z)
    let relu_x = relu
    let conv_1 = x.conv
    let x = 1
    let t = conv1_(x)
    let u = x(3)
    return x",
    );
    numbers: errors_in(
        "    let a = 1 / 0
    let b = x ** 0.5
    let c = x ** x
    let d = [[[1]]]
    return x ** 0",
    );
    unreadable_text: errors(
        "model net {
    input x: f32[1, 4]
    # a comment?
    let a = x ^ 2;
    let b = .5 * x
    let c = 1e999 * x
    let d = w['fc1']
    let e = \"open
    let f = ééé
    return x
}
",
    );
    statements_after_syntax_errors: errors(
        "fn broken(x {
    return x
}

model net {
    input x: f32[1, 4
    let = relu(x)
    x + 1
    let y = relu(x))
    let z = relu(y) relu(z)
    return nothing_known
}
",
    );
    missing_brace: errors("model net {\n    input x: f32[1, 4]\n    return x\n");
    text_outside_of_the_model: errors("let y = 1\nmodel net { input x: f32[1, 4] return x }\n");
}

#[test]
fn spans_survive_wide_characters_and_tabs() {
    insta::assert_snapshot!(errors(
        "// größer\nmodel net {\n\tinput x: f32[1, 4]\n\treturn reul(x) // ü\n}\n"
    ));
}

#[test]
fn findings_are_bounded_and_sorted() {
    let statements: String = (0..200).map(|i| format!("    let a{i} = unknown{i}\n")).collect();
    let folder = Path::new(".");
    let source = format!("model net {{\n    input x: f32[1, 4]\n{statements}    return x\n}}\n");
    let errors = dsl::import_source("net", &source, folder).expect_err("nothing is known");
    assert_eq!(errors.diagnostics().len(), 65);
    assert_eq!(errors.diagnostics()[64].message, "136 more errors are not shown");
    let starts: Vec<_> = errors.diagnostics()[..64]
        .iter()
        .map(|d| d.labels[0].range.start)
        .collect();
    assert!(starts.is_sorted());
}
