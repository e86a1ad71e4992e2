//! Runs passes of the compiler and the one of this crate on a program in text form, and shows what the last one did.

use std::io::Write;
use std::process::ExitCode;

use aphelion_ir::ConstantPool;
use aphelion_out_of_tree_pass::save_rotation_keys;
use aphelion_passes::pipeline::{AnyGraph, PassManager};
use aphelion_passes::{PassCx, PassError};

const USAGE: &str = "\
Usage: aphelion-out-of-tree-pass PROGRAM.air [PASS,PASS,...]

Runs the passes in order (save_rotation_keys, if none is named), and prints the program before and after the last one, with
its counts.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, passes) = match arguments.as_slice() {
        [path] => (path, save_rotation_keys::PASS.name),
        [path, passes] => (path, passes.as_str()),
        _ => return fail(USAGE),
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return fail(&format!("{path}: {error}")),
    };
    let passes: Vec<&str> = passes.split(',').collect();
    match before_and_after(&text, &passes) {
        Ok(report) => match std::io::stdout().lock().write_all(report.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Err(error) => fail(&format!("{path}: {error}")),
    }
}

fn before_and_after(text: &str, passes: &[&str]) -> Result<String, PassError> {
    let cx = PassCx::default();
    let mut manager = PassManager::new(&cx).verify(true).register(save_rotation_keys::PASS)?;
    let (last, first) = passes.split_last().unwrap_or((&save_rotation_keys::PASS.name, &[]));
    let before = manager.run(first, AnyGraph::parse(text, &ConstantPool::default())?)?;
    let shown = before.print()?;
    let after = manager.run(&[last], before)?.print()?;
    let mut report = format!("before {last}:\n{shown}\nafter {last}:\n{after}\n");
    for pass in manager.reports().iter().filter(|pass| pass.name == *last) {
        for (name, count) in &pass.stats.0 {
            report.push_str(&format!("{name} {count}\n"));
        }
    }
    Ok(report)
}

fn fail(message: &str) -> ExitCode {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{message}");
    ExitCode::from(2)
}
