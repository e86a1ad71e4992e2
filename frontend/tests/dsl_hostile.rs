//! No text and no weight file makes the importer panic, exhaust the stack or run without bound.

mod mutate;

use aphelion_frontend::dsl;
use mutate::{mutate, mutations};
use proptest::prelude::*;
use std::path::Path;
use std::time::{Duration, Instant};

fn models() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/models")
}

/// Imports `source` in whatever time; renders the errors, which must point into the source.
fn import(source: &str) -> Result<(), String> {
    let folder = models();
    match dsl::import_source("net", source, &folder) {
        Ok(import) => {
            import.graph.verify().expect("an accepted model is valid");
            Ok(())
        }
        Err(errors) => {
            assert!(!errors.diagnostics().is_empty());
            for label in errors.diagnostics().iter().flat_map(|finding| &finding.labels) {
                assert!(
                    source.get(label.range.clone()).is_some(),
                    "{:?} in {source:?}",
                    label.range
                );
            }
            Err(errors.to_string())
        }
    }
}

fn first_message(source: &str) -> String {
    let rendered = import(source).expect_err("the source is hostile");
    rendered.lines().next().unwrap_or_default().to_string()
}

fn in_model(statements: &str) -> String {
    format!("model net {{ input x: f32[1, 4]\n{statements}\nreturn x }}")
}

#[test]
fn nesting_is_bounded() {
    let brackets = |n: usize| in_model(&format!("let a = {}x{}", "(".repeat(n), ")".repeat(n)));
    assert!(import(&brackets(60)).is_ok());
    assert_eq!(
        first_message(&brackets(100_000)),
        "error: brackets are nested deeper than 64"
    );
    let unclosed = in_model(&format!("let a = {}", "[".repeat(100_000)));
    assert_eq!(first_message(&unclosed), "error: brackets are nested deeper than 64");

    for (open, close) in [("-", ""), ("", " + x"), ("", " |> relu"), ("2 ** ", ""), ("", " / x")] {
        let chain = |n: usize| in_model(&format!("let a = {}x{}", open.repeat(n), close.repeat(n)));
        let fits = if open == "2 ** " { 1 } else { 100 };
        if open != "2 ** " {
            assert!(import(&chain(fits)).is_ok(), "{open}{close}");
        }
        assert_eq!(
            first_message(&chain(1000)),
            "error: the expression is nested deeper than 128",
            "{open}{close}"
        );
        assert_eq!(
            first_message(&chain(20_000)),
            "error: the statement has more than 8192 words and marks",
            "{open}{close}"
        );
    }
}

/// A chain of functions, each calling the one before as `call` says.
fn tower(n: usize, call: &str) -> String {
    let mut source = String::from("fn f0(x) { return x }\n");
    for i in 1..n {
        let body = call.replace("PREV", &format!("f{}", i - 1));
        source.push_str(&format!("fn f{i}(x) {{ return {body} }}\n"));
    }
    source + &format!("model net {{ input x: f32[1, 4] return f{}(x) }}", n - 1)
}

#[test]
fn inlining_is_bounded() {
    assert!(import(&tower(20, "PREV(x) + x")).is_ok());
    assert!(first_message(&tower(5000, "PREV(x)")).contains("nested deeper than"));
    assert!(first_message(&tower(40, "PREV(x) + PREV(-x)")).contains("more than 100000 ops"));
    assert!(first_message(&tower(40, "PREV(PREV(x))")).contains("to build"));
    assert!(first_message(&tower(4, "[PREV(x), PREV(x)]")).contains("lists nest"));
}

#[test]
fn sizes_are_bounded() {
    assert!(first_message(&" ".repeat((1 << 18) + 1)).contains("bytes"));
    assert!(first_message(&in_model("let a = pad(x, 9007199254740991)")).contains("2^32"));
    assert!(first_message(&in_model("let a = pad(x, 4294967296)")).contains("2^32"));
    assert!(first_message(&in_model("let a = reshape(x, [9007199254740992, 9007199254740992])")).contains("elements"));
    let many = format!("let a = poly(x, [{}])", "0.5, ".repeat(4000));
    assert!(import(&in_model(&many)).is_ok());
}

#[test]
fn errors_by_the_thousand_take_no_time() {
    let start = Instant::now();
    for unit in [
        "let ",
        "} ",
        "( ",
        "return , ",
        "model ",
        "fn f( ",
        "let a = ) ",
        "\u{1F980} ",
        "\" ",
        "x ",
    ] {
        let source = unit.repeat(100_000 / unit.len());
        assert!(import(&source).is_err());
        assert!(import(&in_model(&source)).is_err());
    }
    // Generous: the machine may be busy. A parser that is quadratic in the source takes minutes.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

const EXAMPLES: [&str; 3] = ["lenet_sq", "mlp_credit", "cnn1d_gunpoint"];

const WORDS: [&str; 40] = [
    "model",
    "fn",
    "weights",
    "input",
    "let",
    "return",
    "in",
    "true",
    "false",
    "x",
    "w",
    "w.fc1",
    "y",
    "f32",
    "conv",
    "linear",
    "relu",
    "concat",
    "slice",
    "reshape",
    "poly",
    "0",
    "1",
    "2.5",
    "1e300",
    "-",
    "+",
    "*",
    "**",
    "/",
    "|>",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "=",
    "\"lenet_sq.safetensors\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_sources(index in 0..EXAMPLES.len(), mutations in mutations()) {
        let path = models().join(format!("{}.aph-model", EXAMPLES[index]));
        let source = std::fs::read(path).expect("the example is there");
        let _ = import(&String::from_utf8_lossy(&mutate(&source, &mutations)));
    }

    #[test]
    fn shuffled_words(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        let text = words.join(" ");
        let _ = import(&text);
        let _ = import(&in_model(&text));
        let _ = import(&in_model(&format!("let a = {text}")));
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        let _ = import(&text);
        let _ = import(&in_model(&text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn damaged_weights(is_npz: bool, at_the_front: bool, mutations in mutations()) {
        let (model, weights) = if is_npz {
            ("mlp_credit.aph-model", "mlp_credit.npz")
        } else {
            ("cnn1d_gunpoint.aph-model", "cnn1d_gunpoint.safetensors")
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let bytes = std::fs::read(models().join(weights)).expect("the example is there");
        // Most of a file is numbers; its structure gets half of the damage.
        let n_damaged = if at_the_front { 800 } else { bytes.len() };
        let damaged = [&mutate(&bytes[..n_damaged], &mutations), &bytes[n_damaged..]].concat();
        std::fs::write(folder.path().join(weights), damaged).expect("written");
        std::fs::copy(models().join(model), folder.path().join(model)).expect("copied");
        if let Err(error) = dsl::import(&folder.path().join(model)) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
