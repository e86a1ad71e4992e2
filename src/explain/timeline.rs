//! Levels over time: every instruction at the time and the levels it works at, with its layer and the bootstraps.

use std::fmt::Write;

use super::analysis::{Analysis, Kind, Step};
use super::draw::{legend, line, number, open, rect, text, ticks};

/// Size of the drawing, and the frame of the plot in it.
const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 40.0;
/// An instruction that keeps its level is drawn this high.
const THIN: f64 = 4.0;
/// A layer narrower than this has no number over it.
const NARROWEST_CHIP: f64 = 15.0;

/// Instructions of one layer and kind that follow each other, drawn as one.
struct Block {
    start: f64,
    end: f64,
    step: Step,
    count: usize,
}

pub(super) fn section(page: &mut String, analysis: &Analysis<'_>) {
    let n_bootstraps = analysis.report.plan.counts.bootstraps;
    page.push_str("<section><h2>Levels over time</h2><p>");
    let _ = write!(
        page,
        "Every block is work: as wide as it is predicted to take, from the level where it begins down to the level it leaves. \
         Instructions stand in program order; numbers over the plot are layers. {}</p>",
        match n_bootstraps {
            0 => "Nothing is bootstrapped: all levels that are used up are there from the start.".to_string(),
            1 => "One bootstrap restores levels.".to_string(),
            n => format!("{n} bootstraps restore levels."),
        }
    );
    page.push_str("<div class=\"scroll\">");
    draw(page, analysis);
    page.push_str("</div>");
    let kinds: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| analysis.steps.iter().any(|step| step.kind == *kind))
        .collect();
    legend(page, &kinds);
    page.push_str("</section>");
}

fn draw(page: &mut String, analysis: &Analysis<'_>) {
    let total = analysis.predicted().max(f64::MIN_POSITIVE);
    let highest = analysis
        .plan
        .types()
        .iter()
        .map(|ty| ty.level)
        .max()
        .unwrap_or(0)
        .max(1);
    let x = |time: f64| LEFT + time / total * (RIGHT - LEFT);
    let y = |level: f64| BOTTOM - level / highest as f64 * (BOTTOM - TOP);
    open(
        page,
        WIDTH,
        HEIGHT,
        "levels of the program over predicted time, by layer",
    );

    bands(page, analysis, &x);
    for level in ticks(highest as f64, 7)
        .into_iter()
        .filter(|level| level.fract() == 0.0)
    {
        line(page, "grid", [LEFT, y(level), RIGHT, y(level)]);
        text(page, "end dim", LEFT - 7.0, y(level) + 4.0, &number(level));
    }
    text(page, "dim", 2.0, TOP - 16.0, "level");

    let blocks = blocks(&analysis.steps);
    let mut area = format!("M{} {}", number(x(0.0)), number(y(0.0)));
    for block in &blocks {
        let (left, right) = (number(x(block.start)), number(x(block.end)));
        let _ = write!(
            area,
            "L{left} {}L{right} {}",
            number(y(block.step.level_in as f64)),
            number(y(block.step.level_out as f64))
        );
    }
    let _ = write!(
        page,
        "<path class=\"area\" d=\"{area}L{} {}Z\"/>",
        number(x(total)),
        number(y(0.0))
    );
    let mut number_of_bootstrap = 0;
    for block in &blocks {
        let Step {
            level_in, level_out, ..
        } = block.step;
        let (high, low) = (level_in.max(level_out) as f64, level_in.min(level_out) as f64);
        let height = (y(low) - y(high)).max(THIN);
        let middle = 0.5 * (y(low) + y(high));
        let width = (x(block.end) - x(block.start)).max(0.6);
        let title = title(analysis, block);
        let area = [x(block.start), middle - 0.5 * height, width, height];
        let is_bootstrap = block.step.kind == Kind::Bootstrap;
        let class = if is_bootstrap {
            "k-boot rise"
        } else {
            block.step.kind.class()
        };
        rect(page, class, area, &title);
        if is_bootstrap {
            number_of_bootstrap += block.count;
            let (centre, tip) = (x(block.start) + 0.5 * width, middle - 0.5 * height);
            let _ = write!(
                page,
                "<path class=\"k-boot\" d=\"M{} {}l6 9h-12z\"/>",
                number(centre),
                number(tip - 9.0)
            );
            if width > 9.0 {
                text(
                    page,
                    "middle on",
                    centre,
                    middle + 4.0,
                    &number_of_bootstrap.to_string(),
                );
            }
        }
    }

    line(page, "axis", [LEFT, BOTTOM, RIGHT, BOTTOM]);
    for time in ticks(total, 9) {
        line(page, "axis", [x(time), BOTTOM, x(time), BOTTOM + 4.0]);
        let class = if time > 0.93 * total { "end dim" } else { "middle dim" };
        let words = if time == 0.0 {
            "0".to_string()
        } else {
            analysis.quantity(time)
        };
        text(page, class, x(time), BOTTOM + 17.0, &words);
    }
    let axis = match analysis.report.plan.predicted_evaluate_s {
        Some(_) => "predicted time",
        None => "predicted share of the time",
    };
    text(page, "end dim", RIGHT, HEIGHT - 5.0, axis);
    page.push_str("</svg>");
}

/// Alternating grounds for the layers, in the order in which they come, with their numbers.
fn bands(page: &mut String, analysis: &Analysis<'_>, x: &impl Fn(f64) -> f64) {
    let mut start = 0.0;
    let mut last_chip = f64::NEG_INFINITY;
    for (index, run) in analysis.steps.chunk_by(|a, b| a.layer == b.layer).enumerate() {
        let end = start + run.iter().map(|step| step.predicted).sum::<f64>();
        let layer = run[0].layer;
        let class = if index % 2 == 0 { "band" } else { "band odd" };
        let width = x(end) - x(start);
        let name = format!(
            "{}. {}",
            layer + 1,
            analysis.report.layers[layer].origin.replace('`', "")
        );
        rect(page, class, [x(start), TOP - 12.0, width, BOTTOM - TOP + 12.0], &name);
        let centre = 0.5 * (x(start) + x(end));
        if width >= NARROWEST_CHIP && centre - last_chip >= NARROWEST_CHIP {
            text(page, "middle chip", centre, TOP - 16.0, &(layer + 1).to_string());
            last_chip = centre;
        }
        start = end;
    }
}

fn blocks(steps: &[Step]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut start = 0.0;
    for step in steps {
        let end = start + step.predicted;
        match blocks.last_mut() {
            Some(last)
                if (last.step.layer, last.step.op) == (step.layer, step.op)
                    && (last.step.level_in, last.step.level_out) == (step.level_in, step.level_out)
                    && step.kind != Kind::Bootstrap =>
            {
                last.end = end;
                last.count += 1;
            }
            _ => blocks.push(Block {
                start,
                end,
                step: *step,
                count: 1,
            }),
        }
        start = end;
    }
    blocks
}

fn title(analysis: &Analysis<'_>, block: &Block) -> String {
    let step = &block.step;
    let layer = &analysis.report.layers[step.layer].origin;
    let times = if block.count > 1 {
        format!(" ({} times)", block.count)
    } else {
        String::new()
    };
    format!(
        "{}: {}{times}, level {} to {}, {}",
        layer.replace('`', ""),
        step.op,
        step.level_in,
        step.level_out,
        analysis.quantity(block.end - block.start)
    )
}
