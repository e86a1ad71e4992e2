//! Places a network of the size of ResNet-50 into slots, and tells how long that takes and what it comes to:
//! `cargo run --release -p aphelion-passes --example plan_resnet50 [IMAGE [THINNER [BLOCKS]]]`, 224, 1 and 16 for all of it.

mod resnet50;

use aphelion_ir::slot::SlotOp;
use aphelion_passes::{CompileOptions, PassCx, lower_to_slot};
use std::io::{self, Write};
use std::time::Instant;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|text| text.parse().expect("a number"))
        .collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (image, thinner, n_blocks) = (number(0, 224), number(1, 1), number(2, 16));
    let start = Instant::now();
    let graph = resnet50::resnet50(image, thinner, n_blocks);
    writeln!(out, "weights: {:.1?}", start.elapsed())?;
    let cx = PassCx {
        options: CompileOptions {
            log_n: Some(16),
            ..CompileOptions::default()
        },
        ..PassCx::default()
    };
    let start = Instant::now();
    let (lowered, stats) = lower_to_slot::run(&cx, graph).expect("the network is lowered");
    writeln!(out, "layouts: {:.1?}, {}", start.elapsed(), peak_memory())?;
    for (name, count) in &stats.0 {
        writeln!(out, "  {name} {count}")?;
    }
    for (id, node) in lowered.iter() {
        if let SlotOp::Linear { x, kernel } = &node.op {
            let input = lowered.ty(*x);
            writeln!(
                out,
                "{id} {}: {:?} in {} x {} -> {:?} in {} x {}",
                node.origin,
                input.shape,
                input.cts,
                input.period,
                kernel.output.shape,
                kernel.output.cts,
                kernel.output.period
            )?;
        }
    }
    Ok(())
}

/// What the system says of the process's memory.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.map_or_else(
        || "memory unknown".into(),
        |line| line.split_whitespace().collect::<Vec<_>>().join(" "),
    )
}
