//! What a file declares: its functions and its model.

use super::ast::{Function, Item, Model, Word};
use super::builtins;
use super::diagnostics::{Diagnostics, Reported, Span};
use std::collections::{BTreeMap, BTreeSet};

/// The functions by name; those with names that are taken are reported and left out.
pub(super) fn collect_functions<'a, 's>(
    items: &'a [Item<'s>],
    diagnostics: &mut Diagnostics,
) -> BTreeMap<&'s str, &'a Function<'s>> {
    let mut functions: BTreeMap<&'s str, &'a Function<'s>> = BTreeMap::new();
    for item in items {
        let Item::Function(function) = item else { continue };
        let name = function.name;
        if name.text.contains('.') {
            dotted(diagnostics, name);
        }
        if builtins::find(name.text).is_some() {
            diagnostics
                .error(name.span, format!("`{}` is a layer of the language", name.text))
                .note("give the function another name");
        } else if let Some(first) = functions.get(name.text) {
            let first = first.name.span;
            diagnostics
                .error(name.span, format!("there are two functions `{}`", name.text))
                .label(first, "the first")
                .note("give one of them another name");
        } else {
            functions.insert(name.text, function);
        }
        let mut seen = BTreeSet::new();
        for param in &function.params {
            if param.name.text.contains('.') {
                dotted(diagnostics, param.name);
            }
            if !seen.insert(param.name.text) {
                diagnostics
                    .error(
                        param.name.span,
                        format!("there are two parameters `{}`", param.name.text),
                    )
                    .note("give one of them another name");
            }
        }
    }
    functions
}

/// The model of the file; of several, the first.
pub(super) fn the_model<'a, 's>(
    items: &'a [Item<'s>],
    diagnostics: &mut Diagnostics,
) -> Result<&'a Model<'s>, Reported> {
    let mut models = items.iter().filter_map(|item| match item {
        Item::Model(model) => Some(model),
        Item::Function(_) | Item::Broken => None,
    });
    let Some(model) = models.next() else {
        if items.iter().any(|item| matches!(item, Item::Broken)) {
            return Err(Reported);
        }
        let span = match items.last() {
            Some(Item::Function(function)) => function.span,
            _ => Span::new(0, 0),
        };
        return Err(diagnostics
            .error(span, "the file has no model")
            .note("add one: `model name { input x: f32[1, 4]  return x }`")
            .reported());
    };
    if model.name.text.contains('.') {
        dotted(diagnostics, model.name);
    }
    for other in models {
        diagnostics
            .error(other.name.span, "the file has a second model")
            .label(model.name.span, "the first")
            .note("put it into a file of its own");
    }
    Ok(model)
}

/// Reports a name that only a weight may have.
pub(super) fn dotted(diagnostics: &mut Diagnostics, name: Word<'_>) -> Reported {
    diagnostics
        .error(name.span, format!("the name `{}` has dots", name.text))
        .note("only weights have dots in their names; use `_`")
        .reported()
}
