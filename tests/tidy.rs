//! What a machine can check of the house rules: headers, sizes, unfinished marks, and paths that documents name.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file longer than this is two rooms, not one.
const MAX_LINES: usize = 700;

const ROOTS: [&str; 8] = [
    "src", "tests", "examples", "frontend", "ir", "passes", "backends", "runtime",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Source files of the project; build outputs inside a crate are left out.
fn sources() -> Vec<PathBuf> {
    let mut pending: Vec<PathBuf> = ROOTS.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name == "target") {
                continue;
            }
            let entries = fs::read_dir(&path).expect("folder is readable");
            pending.extend(entries.map(|entry| entry.expect("entry is readable").path()));
        } else if path.extension().is_some_and(|found| found == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn check(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}", findings.join("\n"));
}

#[test]
fn sources_have_a_header_and_one_subject() {
    let mut findings = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("source is readable");
        if !text.starts_with("//!") {
            findings.push(format!("{}: does not open with a `//!` header", name(&path)));
        }
        let n_lines = text.lines().count();
        if n_lines > MAX_LINES {
            findings.push(format!("{}: {n_lines} lines, more than {MAX_LINES}", name(&path)));
        }
    }
    check(&findings);
}

#[test]
fn nothing_is_left_unfinished() {
    // Spelled in two parts, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
        concat!("allow(dead", "_code)"),
    ];
    let mut findings = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).expect("source is readable");
        for (index, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                findings.push(format!("{}:{}: {}", name(&path), index + 1, line.trim()));
            }
        }
    }
    check(&findings);
}

#[test]
fn documents_name_paths_that_exist() {
    let mut findings = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "examples/README.md"] {
        let text = fs::read_to_string(root().join(document)).expect("document is readable");
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = ROOTS.iter().any(|folder| quoted.starts_with(&format!("{folder}/")))
                && !quoted.contains([' ', '<', '*', '{']);
            if is_path && !root().join(quoted).exists() {
                findings.push(format!("{document} names `{quoted}`, which does not exist"));
            }
        }
    }
    check(&findings);
}

/// Every pass says what it takes, what it ensures and how, in the same seven lines.
#[test]
fn passes_have_the_full_header() {
    let mut findings = Vec::new();
    for path in sources()
        .into_iter()
        .filter(|path| path.starts_with(root().join("passes/src")))
    {
        let text = fs::read_to_string(&path).expect("source is readable");
        if !text.lines().any(|line| line.starts_with("pub fn run(")) {
            continue;
        }
        let header: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        for field in ["In:", "Out:", "Method:", "Source:", "Cost:", "Counts:", "Limits:"] {
            if !header.iter().any(|line| line.contains(field)) {
                findings.push(format!("{}: the header has no `{field}`", name(&path)));
            }
        }
    }
    check(&findings);
}
