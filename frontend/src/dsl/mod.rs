//! The model language, `.aph-model`: a small typed notation for networks, read into the `nn` dialect.
//!
//! Invariant: no source text makes the importer panic, exhaust the stack or run without bound.
//! Invariant: every op's origin carries the byte range of the expression it is made for.
//!
//! Reading order: [`ast`] (what can be written), [`lexer`], `grammar.lalrpop`, [`parse`], [`diagnostics`]; then the
//! meaning: [`value`], [`weights`], [`items`] (functions), [`lower`] (statements), [`eval`] (expressions), [`call`] (arguments), [`builtins`]
//! (the table of layers). The language is described in `docs/model-language.md`.

mod ast;
mod lexer;
mod parse;

mod diagnostics;
mod suggest;

mod value;
mod weights;

mod builtins;
mod call;
mod eval;
mod items;
mod lower;

pub use diagnostics::SourceErrors;

use crate::FrontendError;
use aphelion_ir::Graph;
use aphelion_ir::nn::Nn;
use diagnostics::Diagnostics;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A model read from the model language.
#[derive(Clone, Debug)]
pub struct Import {
    /// The model.
    pub graph: Graph<Nn>,
    /// For inputs that declare one: the interval `(low, high)` that all their elements lie in.
    pub input_ranges: BTreeMap<String, (f64, f64)>,
}

/// Reads the model in the file `path`; its weight files lie beside it, or below.
///
/// # Errors
/// [`FrontendError::Read`] when the file cannot be read or is no UTF-8, [`FrontendError::Source`] with all errors found.
pub fn import(path: &Path) -> Result<Import, FrontendError> {
    let source = read_source(path).map_err(|source| FrontendError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    import_source(&path.display().to_string(), &source, folder)
        .map_err(|errors| FrontendError::Source(Box::new(errors)))
}

/// Reads the model in `source`. `name` is how errors call the source; weight files are looked for in `folder`.
///
/// # Errors
/// All errors found, with their places.
pub fn import_source(name: &str, source: &str, folder: &Path) -> Result<Import, SourceErrors> {
    let mut diagnostics = Diagnostics::default();
    let import =
        parse::parse(source, &mut diagnostics).and_then(|items| lower::lower(&items, folder, &mut diagnostics));
    import.map_err(|_| diagnostics.finish(name, source))
}

/// The text of a file, of which one byte more than the parser accepts is read.
fn read_source(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(parse::MAX_SOURCE_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}
