//! `docs/passes.md` is made from the headers of the passes. After a change of one, `UPDATE_DOCS=1 cargo test --test
//! passes_doc` writes it anew.

use std::fs;
use std::path::{Path, PathBuf};

use aphelion_passes::pipeline::{COMPILE, PASSES, PassInfo};

const FIELDS: [&str; 7] = ["In:", "Out:", "Method:", "Source:", "Cost:", "Counts:", "Limits:"];

/// Passes whose file has another name.
const FILES: [(&str, &str); 1] = [("select_parameters", "parameters")];

const HEAD: &str = "\
# Passes

Made from the headers of the files in `passes/src` by the test `tests/passes_doc.rs`; change it there.

A pass takes a verified graph of one dialect and gives one of the same or the next. These compile a model, in this order:

";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The header of a pass, one line.
fn header(pass: &PassInfo) -> (String, String) {
    let file = FILES
        .iter()
        .find(|(name, _)| *name == pass.name)
        .map_or(pass.name, |(_, file)| file);
    let paths = [format!("passes/src/{file}.rs"), format!("passes/src/{file}/mod.rs")];
    let path = paths.iter().find(|path| root().join(path).is_file());
    let path = path.unwrap_or_else(|| panic!("no file for pass `{}`", pass.name));
    let text = fs::read_to_string(root().join(path)).expect("the file is readable");
    let lines: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
    // What follows the fields is for readers of the code.
    let end = lines
        .iter()
        .rposition(|line| line.contains("Limits:"))
        .map_or(lines.len(), |limits| {
            let rest = lines[limits + 1..].iter().take_while(|line| line.starts_with("   "));
            limits + 1 + rest.count()
        });
    let words: Vec<&str> = lines[..end].iter().flat_map(|line| line.split_whitespace()).collect();
    (path.clone(), words.join(" "))
}

/// The text before the first field, and that of every field.
fn fields(header: &str) -> Vec<(&'static str, String)> {
    let at = |field: &str| {
        header
            .find(&format!(" {field} "))
            .unwrap_or_else(|| panic!("no `{field}` in: {header}"))
    };
    let mut places: Vec<(usize, &'static str)> = FIELDS.iter().map(|field| (at(field), *field)).collect();
    places.sort_unstable();
    assert!(
        places.iter().map(|(_, field)| *field).eq(FIELDS),
        "fields out of order: {header}"
    );
    let ends = places.iter().skip(1).map(|(at, _)| *at).chain([header.len()]);
    let mut parts = vec![("", header[..places[0].0].to_string())];
    for ((at, field), end) in places.iter().zip(ends) {
        parts.push((*field, header[at + field.len() + 2..end].trim().to_string()));
    }
    parts
}

/// Links within the code become plain names.
fn unlinked(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("[`") {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let end = after.find("`]").expect("a link ends");
        plain.push_str(&after[..=end]);
        rest = &after[end + 2..];
        if let Some(target) = rest.strip_prefix('(') {
            rest = &target[target.find(')').expect("a target ends") + 1..];
        }
    }
    plain.push_str(rest);
    plain
}

fn document() -> String {
    let mut text = HEAD.to_string();
    for (number, step) in COMPILE.iter().enumerate() {
        text.push_str(&format!(
            "{}. [`{}`](#{}): {}\n",
            number + 1,
            step.pass,
            step.pass,
            step.why
        ));
    }
    for pass in PASSES {
        let (path, header) = header(pass);
        let (from, to) = pass.dialects();
        text.push_str(&format!("\n## {}\n\n", pass.name));
        let way = if from == to {
            from.to_string()
        } else {
            format!("{from} to {to}")
        };
        text.push_str(&format!("`{path}`, {way}: {}.\n\n", pass.summary));
        for (field, words) in fields(&header) {
            let words = unlinked(&words);
            match field {
                "" => text.push_str(&format!("{words}\n\n")),
                field => text.push_str(&format!("- **{}** {words}\n", field.trim_end_matches(':'))),
            }
        }
    }
    text
}

#[test]
fn passes_are_documented_as_their_headers_say() {
    let path = root().join("docs/passes.md");
    let document = document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &document).expect("the document is written");
    }
    let found = read(&path);
    let differing = document.lines().zip(found.lines()).find(|(made, found)| made != found);
    assert_eq!(
        differing, None,
        "docs/passes.md is not what the headers say: run with UPDATE_DOCS=1"
    );
    assert!(
        document == found,
        "docs/passes.md is not what the headers say: run with UPDATE_DOCS=1"
    );
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn headers_are_taken_apart() {
    let parts =
        fields("What it does: all of it. In: nn. Out: ckks. Method: m Source: s Cost: O(n) Counts: c. Limits: none");
    assert_eq!(parts[0].1, "What it does: all of it.");
    assert_eq!((parts[1].0, parts[1].1.as_str()), ("In:", "nn."));
    assert_eq!((parts[7].0, parts[7].1.as_str()), ("Limits:", "none"));
    assert_eq!(unlinked("see [`A`](crate::A) and [`B`], [1]"), "see `A` and `B`, [1]");
}
