//! Programs in text form as files: the text in `NAME.air`, and the constants that are too large to stand in it beside it,
//! in `NAME.safetensors`.

use std::path::{Path, PathBuf};

use aphelion_frontend::data::{read_safetensors, write_safetensors};
use aphelion_ir::text::ParseError;
use aphelion_ir::{ConstantPool, IrError};
use aphelion_passes::PassError;
use aphelion_passes::pipeline::AnyGraph;

use super::error::{DriverError, Result};
use super::model::Model;

/// Characters of a line that are shown on either side of an error.
const EXCERPT: usize = 48;

/// Writes a program to `FOLDER/NAME.air`, its constants to `FOLDER/NAME.safetensors`.
///
/// # Errors
/// When a constant cannot be read or a file cannot be written.
pub fn save(folder: &Path, name: &str, graph: &AnyGraph) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(|source| DriverError::io(folder, source))?;
    let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).map_err(|source| DriverError::io(path, source));
    let path = folder.join(format!("{name}.air"));
    write(
        &path.with_extension("safetensors"),
        &write_safetensors(&graph.used_constants()?)?,
    )?;
    write(&path, graph.print()?.as_bytes())?;
    Ok(path)
}

/// Reads a program. Its large constants are taken from `constants`, a model or a file of tensors; without one, from the
/// `.safetensors` file of the program's name, if there is one.
///
/// # Errors
/// When a file cannot be read, the text is no program (the message shows the place), or a constant is missing.
pub fn load(path: &Path, constants: Option<&Path>) -> Result<AnyGraph> {
    let beside = path.with_extension("safetensors");
    let constants = match constants {
        Some(path) => load_constants(path)?,
        None if beside.is_file() => load_constants(&beside)?,
        None => ConstantPool::default(),
    };
    let text = std::fs::read_to_string(path).map_err(|source| DriverError::io(path, source))?;
    AnyGraph::parse(&text, &constants).map_err(|error| {
        let path = path.display();
        DriverError::BadInput(match error {
            PassError::Ir(IrError::Parse(error)) => format!("{path}:{error}\n{}", excerpt(&text, &error)),
            PassError::Ir(error @ IrError::Constant { .. }) => format!(
                "{path}: {error}: large constants are read from {}, or from the file that --constants names",
                beside.display()
            ),
            error => format!("{path}: {error}"),
        })
    })
}

fn load_constants(path: &Path) -> Result<ConstantPool> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        Ok(read_safetensors(path)?)
    } else {
        Ok(Model::load(path)?.graph.constants)
    }
}

/// The part of the line around an error, with a mark below the place.
fn excerpt(text: &str, error: &ParseError) -> String {
    let line: Vec<char> = text
        .lines()
        .nth(error.at.line - 1)
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let at = (error.at.column - 1).min(line.len());
    let (start, end) = (at.saturating_sub(EXCERPT), (at + EXCERPT).min(line.len()));
    let shown: String = line[start..end].iter().collect();
    let number = error.at.line.to_string();
    format!(
        "{number} | {shown}\n{:>width$}^",
        "",
        width = number.len() + 3 + at - start
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let model = Model::load(Path::new("examples/models/lenet_sq.onnx")).expect("a model");
        let graph = AnyGraph::Nn(model.graph);
        let path = save(folder.path(), "lenet", &graph).expect("saved");
        assert_eq!(load(&path, None).expect("loaded"), graph);
        let constants = path.with_extension("safetensors");
        let moved = folder.path().join("moved.safetensors");
        std::fs::rename(&constants, &moved).expect("moved");
        assert_eq!(load(&path, Some(&moved)).expect("loaded"), graph);
        let message = load(&path, None).unwrap_err().to_string();
        assert!(
            message.contains("lenet.safetensors, or from the file that --constants names"),
            "{message}"
        );
    }

    #[test]
    fn errors_show_the_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("broken.air");
        let text = "slot @square attrs {slots: 4, output_scales: [], client_ops: []} {\n  %0 = fly %1\n}\n";
        std::fs::write(&path, text).expect("written");
        let message = load(&path, None).unwrap_err().to_string();
        assert!(message.contains("broken.air:2:8: `slot` has no op `fly`"), "{message}");
        assert!(message.ends_with("\n2 |   %0 = fly %1\n           ^"), "{message}");
    }
}
