//! Arguments of layer and function calls: matched with parameters, checked, converted.

use super::ast::{Arg, Word};
use super::builtins::{Lowering, Signature};
use super::diagnostics::{Reported, Span};
use super::eval::list_names;
use super::lower::{Lowerer, Operand};
use super::suggest::closest;
use super::value::{Value, integer};
use aphelion_ir::ValueId;
use aphelion_ir::nn::NnOp;
use aphelion_ir::text::print_attr;
use std::fmt;

/// What a parameter is when the call does not give it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Default {
    /// The call must give it.
    Required,
    /// It is left out, which the layer can tell.
    Absent,
    /// The call must give it, or a group of weights that has it.
    Member,
    Number(f64),
    Bool(bool),
}

/// A parameter of a layer or function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Param<'n> {
    pub name: &'n str,
    pub default: Default,
}

impl<'n> Param<'n> {
    pub(super) const fn required(name: &'n str) -> Self {
        let default = Default::Required;
        Param { name, default }
    }

    pub(super) const fn optional(name: &'n str) -> Self {
        let default = Default::Absent;
        Param { name, default }
    }

    pub(super) const fn member(name: &'n str) -> Self {
        let default = Default::Member;
        Param { name, default }
    }

    pub(super) const fn number(name: &'n str, value: f64) -> Self {
        let default = Default::Number(value);
        Param { name, default }
    }

    pub(super) const fn switch(name: &'n str, value: bool) -> Self {
        let default = Default::Bool(value);
        Param { name, default }
    }

    /// A parameter of a function in the source.
    pub(super) fn of_function(name: &'n str, has_default: bool) -> Self {
        if has_default {
            Param::optional(name)
        } else {
            Param::required(name)
        }
    }
}

/// As in a usage line: `x`, `bias?`, `stride = 1`.
impl fmt::Display for Param<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.default {
            Default::Required | Default::Member => f.write_str(self.name),
            Default::Absent => write!(f, "{}?", self.name),
            Default::Number(value) => write!(f, "{} = {value}", self.name),
            Default::Bool(value) => write!(f, "{} = {value}", self.name),
        }
    }
}

/// Evaluates `args` and puts them in the order of `params`; `None` for a parameter that is not given.
pub(super) fn bind<'a, 's>(
    lowerer: &mut Lowerer<'a, 's>,
    callee: Word<'s>,
    params: &[Param<'_>],
    usage: &str,
    args: &'a [Arg<'s>],
    span: Span,
) -> Result<Vec<Option<(Value, Span)>>, Reported> {
    let mut bound: Vec<Option<(Value, Span)>> = vec![None; params.len()];
    let mut failed = None;
    for (position, arg) in args.iter().enumerate() {
        let value = lowerer.eval(&arg.value);
        let at = arg.name.map_or(arg.value.span, |name| name.span);
        let index = match arg.name {
            Some(name) => params.iter().position(|param| param.name == name.text),
            None => Some(position).filter(|position| *position < params.len()),
        };
        let misuse = match (index, arg.name) {
            (None, Some(name)) => {
                let similar = closest(name.text, params.iter().map(|param| param.name));
                Some((format!("`{}` has no parameter `{}`", callee.text, name.text), similar))
            }
            (None, None) => Some((too_many(callee.text, params.len()), None)),
            (_, None) if args[..position].iter().any(|arg| arg.name.is_some()) => {
                Some(("an argument without a name follows one with a name".to_string(), None))
            }
            (Some(index), _) if bound[index].is_some() => {
                Some((format!("`{}` is given twice", params[index].name), None))
            }
            (Some(index), _) => {
                match value {
                    Ok(value) => bound[index] = Some((value, arg.value.span)),
                    Err(reported) => {
                        bound[index] = Some((Value::Poison, arg.value.span));
                        failed = Some(reported);
                    }
                }
                None
            }
        };
        if let Some((message, similar)) = misuse {
            let finding = lowerer.error(at, message).suggest(similar);
            failed = Some(finding.note(format!("usage: {usage}")).reported());
        }
    }
    for (param, value) in params.iter().zip(&bound) {
        if param.default == Default::Required && value.is_none() && failed.is_none() {
            let message = format!("`{}` needs `{}`", callee.text, param.name);
            let finding = lowerer.error(span, message);
            failed = Some(finding.note(format!("usage: {usage}")).reported());
        }
    }
    match failed {
        Some(reported) => Err(reported),
        None => Ok(bound),
    }
}

/// A parameter of a layer with what the call gives for it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    name: &'static str,
    value: Option<Value>,
    span: Span,
}

/// A call of a layer whose arguments are bound.
pub(super) struct Call<'c, 'a, 's> {
    lowerer: &'c mut Lowerer<'a, 's>,
    signature: &'static Signature,
    given: Vec<Given>,
    span: Span,
    /// The tensors taken so far, with their places.
    operands: Vec<Operand>,
}

impl<'c, 'a, 's> Call<'c, 'a, 's> {
    pub(super) fn new(
        lowerer: &'c mut Lowerer<'a, 's>,
        signature: &'static Signature,
        callee: Word<'s>,
        span: Span,
        bound: Vec<Option<(Value, Span)>>,
    ) -> Self {
        let given = signature.params.iter().zip(bound).map(|(param, bound)| {
            let (value, span) = match (bound, param.default) {
                (Some((value, span)), _) => (Some(value), span),
                (None, Default::Number(number)) => (Some(Value::Number(number)), callee.span),
                (None, Default::Bool(switch)) => (Some(Value::Bool(switch)), callee.span),
                (None, Default::Required | Default::Absent | Default::Member) => (None, callee.span),
            };
            let name = param.name;
            Given { name, value, span }
        });
        Call {
            given: given.collect(),
            lowerer,
            signature,
            span,
            operands: Vec::new(),
        }
    }

    /// Makes the layer's ops; the value of the last.
    pub(super) fn lower(mut self) -> Result<ValueId, Reported> {
        self.open_group()?;
        self.check_members()?;
        let op = match &self.signature.lowering {
            Lowering::Build(build) => build(&mut self)?,
            Lowering::Apply(func) => {
                let [x] = self.take();
                let x = self.tensor(&x)?;
                NnOp::Apply { x, func: func.clone() }
            }
        };
        self.push(op)
    }

    /// When the parameter that may be a group of weights is one, fills it and its companions from the group.
    fn open_group(&mut self) -> Result<(), Reported> {
        let signature = self.signature;
        let Some(&(first, _)) = signature.group.first() else {
            return Ok(());
        };
        let group = self.given.iter().find(|given| given.name == first);
        let Some((Some(Value::Scope { file, prefix }), span)) = group.map(|given| (given.value.clone(), given.span))
        else {
            return Ok(());
        };
        for &(param, member) in signature.group {
            let Some(index) = self.given.iter().position(|given| given.name == param) else {
                continue;
            };
            if param != first && self.given[index].value.is_some() {
                continue;
            }
            let full = if prefix.is_empty() {
                member.to_string()
            } else {
                format!("{prefix}.{member}")
            };
            if self.lowerer.files[file].file.has(&full) {
                let value = self.lowerer.weight(file, &full, span)?;
                self.given[index].value = Some(Value::Tensor(value));
                self.given[index].span = span;
                continue;
            }
            if param == first || matches!(signature.params[index].default, Default::Required | Default::Member) {
                let owner = self.lowerer.files[file].name;
                let names = self.lowerer.files[file].file.names();
                let listed = list_names(names.filter(|name| name.starts_with(&prefix)));
                return Err(self
                    .lowerer
                    .error(
                        span,
                        format!("the group of weights has no `{member}`: `{owner}.{full}`"),
                    )
                    .note(format!("it has {listed}; pass the tensors one by one by name"))
                    .reported());
            }
            self.given[index].value = None;
        }
        Ok(())
    }

    /// The parameters, in the order of the layer's row in the table.
    ///
    /// # Panics
    /// When the row has another number of parameters, which a test of the whole table excludes.
    pub(super) fn take<const N: usize>(&self) -> [Given; N] {
        let given = self.given.clone();
        <[Given; N]>::try_from(given).expect("the layer's row has as many parameters as its lowering takes")
    }

    /// Reports a parameter that neither the call nor a group of weights gives.
    fn check_members(&mut self) -> Result<(), Reported> {
        let signature = self.signature;
        let mut params = signature.params.iter().zip(&self.given);
        match params.find(|(param, given)| param.default == Default::Member && given.value.is_none()) {
            None => Ok(()),
            Some((param, _)) => Err(self
                .lowerer
                .error(self.span, format!("`{}` needs `{}`", signature.name, param.name))
                .note(format!("usage: {}", signature.usage()))
                .reported()),
        }
    }

    /// Appends an op that the layer needs on the way.
    pub(super) fn push(&mut self, op: NnOp) -> Result<ValueId, Reported> {
        self.lowerer.push(op, self.signature.name, self.span, &self.operands)
    }

    /// Shape of a tensor.
    pub(super) fn shape(&self, value: ValueId) -> Vec<usize> {
        self.lowerer.graph.ty(value).shape.clone()
    }

    /// Reports that `given` is not what the layer takes.
    pub(super) fn wrong(&mut self, given: &Given, expected: impl fmt::Display) -> Reported {
        let found = match &given.value {
            Some(Value::Number(number)) => format!("found {number}"),
            Some(Value::Tensor(value)) => format!("found {}", print_attr(self.lowerer.graph.ty(*value))),
            Some(value) => format!("found {}", value.kind()),
            None => "found nothing".to_string(),
        };
        let (layer, usage) = (self.signature.name, self.signature.usage());
        self.lowerer
            .error(given.span, format!("`{}` of `{layer}` must be {expected}", given.name))
            .caret(found)
            .note(format!("usage: {usage}"))
            .reported()
    }

    /// A tensor; a number stands for a scalar.
    pub(super) fn tensor(&mut self, given: &Given) -> Result<ValueId, Reported> {
        let value = match given.value {
            Some(Value::Tensor(value)) => value,
            Some(Value::Number(number)) => self.lowerer.number_constant(number, given.span)?,
            _ => return Err(self.wrong(given, "a tensor")),
        };
        self.operands.push(Operand {
            value,
            name: given.name,
            span: given.span,
        });
        Ok(value)
    }

    /// A tensor, or nothing when the call leaves it out.
    pub(super) fn optional_tensor(&mut self, given: &Given) -> Result<Option<ValueId>, Reported> {
        match given.value {
            None => Ok(None),
            Some(_) => self.tensor(given).map(Some),
        }
    }

    /// A list of tensors.
    pub(super) fn tensors(&mut self, given: &Given) -> Result<Vec<ValueId>, Reported> {
        let Some(Value::List(items)) = &given.value else {
            return Err(self.wrong(given, "a list of tensors"));
        };
        let mut values = Vec::new();
        for item in items.iter() {
            let Value::Tensor(value) = item else {
                return Err(self.wrong(given, "a list of tensors"));
            };
            values.push(*value);
        }
        Ok(values)
    }

    /// A number.
    pub(super) fn number(&mut self, given: &Given) -> Result<f64, Reported> {
        match given.value {
            Some(Value::Number(number)) => Ok(number),
            _ => Err(self.wrong(given, "a number")),
        }
    }

    /// A list of numbers.
    pub(super) fn numbers(&mut self, given: &Given) -> Result<Vec<f64>, Reported> {
        self.list_of(given, "a list of numbers", |value| match value {
            Value::Number(number) => Some(*number),
            _ => None,
        })
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, given: &Given) -> Result<bool, Reported> {
        match given.value {
            Some(Value::Bool(switch)) => Ok(switch),
            _ => Err(self.wrong(given, "`true` or `false`")),
        }
    }

    /// An integer of at least 0.
    pub(super) fn count(&mut self, given: &Given) -> Result<usize, Reported> {
        let count = given.value.as_ref().and_then(as_count);
        count.ok_or_else(|| self.wrong(given, "an integer of at least 0"))
    }

    /// An integer.
    pub(super) fn integer(&mut self, given: &Given) -> Result<i64, Reported> {
        let integer = given.value.as_ref().and_then(as_integer);
        integer.ok_or_else(|| self.wrong(given, "an integer"))
    }

    /// An integer, or nothing when the call leaves it out.
    pub(super) fn optional_integer(&mut self, given: &Given) -> Result<Option<i64>, Reported> {
        match given.value {
            None => Ok(None),
            Some(_) => self.integer(given).map(Some),
        }
    }

    /// A list of integers.
    pub(super) fn integers(&mut self, given: &Given) -> Result<Vec<i64>, Reported> {
        self.list_of(given, "a list of integers", as_integer)
    }

    /// Whether the call gives the parameter.
    pub(super) fn is_given(given: &Given) -> bool {
        given.value.is_some()
    }

    /// One integer per spatial dimension; one alone stands for all.
    pub(super) fn counts(&mut self, given: &Given, n_spatial: usize) -> Result<Vec<usize>, Reported> {
        let expected = format!("an integer of at least 0, or a list of {n_spatial}");
        match &given.value {
            Some(Value::List(items)) if items.len() == n_spatial => self.list_of(given, &expected, as_count),
            Some(value) => match as_count(value) {
                Some(count) => Ok(vec![count; n_spatial]),
                None => Err(self.wrong(given, expected)),
            },
            None => Err(self.wrong(given, expected)),
        }
    }

    /// Paddings before and after every dimension: one integer for all, or a list of one integer or pair for each.
    pub(super) fn pads(&mut self, given: &Given, n_dims: usize) -> Result<Vec<(usize, usize)>, Reported> {
        let expected = format!("an integer of at least 0, or a list of {n_dims} integers or pairs `[before, after]`");
        match &given.value {
            Some(Value::List(items)) if items.len() == n_dims => self.list_of(given, &expected, |value| match value {
                Value::List(pair) => match &**pair {
                    [before, after] => as_count(before).zip(as_count(after)),
                    _ => None,
                },
                value => as_count(value).map(|pad| (pad, pad)),
            }),
            Some(value) => match as_count(value) {
                Some(pad) => Ok(vec![(pad, pad); n_dims]),
                None => Err(self.wrong(given, expected)),
            },
            None => Err(self.wrong(given, expected)),
        }
    }

    /// An axis of a tensor of `rank` dimensions; negative ones count from the last.
    pub(super) fn axis(&mut self, given: &Given, rank: usize) -> Result<usize, Reported> {
        let axis = given.value.as_ref().and_then(|value| as_axis(value, rank));
        axis.ok_or_else(|| self.wrong(given, axis_range(rank)))
    }

    /// An axis, or a list of different ones, ascending.
    pub(super) fn axes(&mut self, given: &Given, rank: usize) -> Result<Vec<usize>, Reported> {
        if !matches!(given.value, Some(Value::List(_))) {
            return self.axis(given, rank).map(|axis| vec![axis]);
        }
        let mut axes = self.list_of(given, &axis_range(rank), |value| as_axis(value, rank))?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(self.wrong(given, "a list of different axes"));
        }
        Ok(axes)
    }

    fn list_of<T>(
        &mut self,
        given: &Given,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, Reported> {
        let list = match &given.value {
            Some(Value::List(items)) => items.iter().map(convert).collect(),
            _ => None,
        };
        list.ok_or_else(|| self.wrong(given, expected))
    }
}

fn too_many(callee: &str, n_params: usize) -> String {
    match n_params {
        0 => format!("`{callee}` takes no arguments"),
        1 => format!("`{callee}` takes one argument"),
        n => format!("`{callee}` takes at most {n} arguments"),
    }
}

fn as_integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => integer(*number),
        _ => None,
    }
}

fn as_count(value: &Value) -> Option<usize> {
    usize::try_from(as_integer(value)?).ok()
}

fn as_axis(value: &Value, rank: usize) -> Option<usize> {
    let axis = as_integer(value)?;
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

fn axis_range(rank: usize) -> String {
    format!("an axis between -{rank} and {}", rank.saturating_sub(1))
}
