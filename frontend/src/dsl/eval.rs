//! Evaluates expressions: names, operators and calls. Numbers are computed at once, tensors become ops.

use super::ast::{Arg, BinaryOp, Expr, ExprKind, MAX_DEPTH, Word};
use super::builtins;
use super::call::{Call, Param, bind};
use super::diagnostics::{Reported, Span};
use super::lower::{Lowerer, Operand};
use super::suggest::closest;
use super::value::{Value, integer};
use aphelion_ir::nn::NnOp;
use aphelion_ir::{Tensor, ValueId};
use std::collections::BTreeMap;

/// Lists may nest this deep: pairs of paddings are lists of lists.
const MAX_LIST_DEPTH: usize = 2;

/// More names than this are not listed in a note.
const MAX_LISTED: usize = 8;

impl<'a, 's> Lowerer<'a, 's> {
    /// The value of `expr`.
    pub(super) fn eval(&mut self, expr: &'a Expr<'s>) -> Result<Value, Reported> {
        self.nested(expr.span, |lowerer| lowerer.eval_kind(expr))
    }

    fn eval_kind(&mut self, expr: &'a Expr<'s>) -> Result<Value, Reported> {
        match &expr.kind {
            ExprKind::Number(number) => Ok(Value::Number(*number)),
            ExprKind::Bool(switch) => Ok(Value::Bool(*switch)),
            ExprKind::Path(path) => self.path(path, expr.span),
            ExprKind::Member(path, member) => match self.path(path.text, path.span)? {
                Value::Scope { file, prefix } => self.member(file, &prefix, member.text, member.span),
                other => Err(self
                    .error(
                        path.span,
                        format!("`{}` is {}, it has no members", path.text, other.kind()),
                    )
                    .note("`name[\"..\"]` picks a tensor of a weight file")
                    .reported()),
            },
            ExprKind::List(items) => self.list(items, expr.span),
            ExprKind::Negate(x) => self.negate(x, expr.span),
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b, expr.span),
            ExprKind::Call(callee, args) => self.call(*callee, args, expr.span),
            ExprKind::Broken => Err(Reported),
            ExprKind::TooDeep => Err(self
                .error(expr.span, format!("the expression is nested deeper than {MAX_DEPTH}"))
                .note("give parts of it names with `let`")
                .reported()),
        }
    }

    fn path(&mut self, path: &str, span: Span) -> Result<Value, Reported> {
        let (head, rest) = path
            .split_once('.')
            .map_or((path, None), |(head, rest)| (head, Some(rest)));
        let found = self.frame().bindings.get(head).map(|(value, _)| value.clone());
        let Some(value) = found else {
            if self.frame().is_broken {
                return Err(Reported);
            }
            let similar = self.similar_binding(head);
            let note = match builtins::find(path) {
                Some(signature) => format!("`{path}` is a layer: call it as {}", signature.usage()),
                None if self.functions.contains_key(path) => format!("`{path}` is a function: call it"),
                None => "names are bound by `input`, `weights`, `let` or as parameters, before their use".into(),
            };
            return Err(self
                .error(span, format!("unknown name `{head}`"))
                .suggest(similar)
                .note(note)
                .reported());
        };
        match (value, rest) {
            (Value::Poison, _) => Err(Reported),
            (value, None) => Ok(value),
            (Value::Scope { file, prefix }, Some(rest)) => self.member(file, &prefix, rest, span),
            (other, Some(_)) => Err(self
                .error(span, format!("`{head}` is {}, it has no members", other.kind()))
                .note("only weight files and groups of weights have members")
                .reported()),
        }
    }

    /// The tensor, or the group of tensors, called `member` below `prefix` of a weight file.
    pub(super) fn member(&mut self, file: usize, prefix: &str, member: &str, span: Span) -> Result<Value, Reported> {
        let full = if prefix.is_empty() {
            member.to_string()
        } else {
            format!("{prefix}.{member}")
        };
        let declared = &self.files[file];
        if declared.file.has(&full) {
            return self.weight(file, &full, span).map(Value::Tensor);
        }
        let group = format!("{full}.");
        if declared.file.names().any(|name| name.starts_with(&group)) {
            return Ok(Value::Scope { file, prefix: full });
        }
        let owner = declared.name;
        let similar = closest(&full, declared.file.names()).map(|name| format!("{owner}.{name}"));
        let listed = list_names(declared.file.names());
        Err(self
            .error(span, format!("the weight file `{owner}` has no tensor `{full}`"))
            .suggest(similar.as_deref())
            .note(format!("it has {listed}"))
            .reported())
    }

    /// The constant op of a tensor of a weight file; one per tensor, however often it is used.
    pub(super) fn weight(&mut self, file: usize, name: &str, span: Span) -> Result<ValueId, Reported> {
        let declared = &self.files[file];
        let key = format!("{}.{name}", declared.name);
        if let Some(&value) = self.constants.get(&key) {
            return Ok(value);
        }
        match declared.file.read(name) {
            Ok(tensor) => self.constant(key, tensor, "weights", span),
            Err(message) => Err(self
                .error(span, format!("the tensor `{key}` cannot be used: {message}"))
                .note("export the weights again; they must be finite 16-, 32- or 64-bit floating-point numbers")
                .reported()),
        }
    }

    fn constant(&mut self, key: String, tensor: Tensor, kind: &str, span: Span) -> Result<ValueId, Reported> {
        let value = self.graph.constants.insert(&key, tensor);
        let value = self.push_named(NnOp::Constant { value }, &key, kind, span, &[])?;
        self.constants.insert(key, value);
        Ok(value)
    }

    fn list(&mut self, items: &'a [Expr<'s>], span: Span) -> Result<Value, Reported> {
        let values: Vec<_> = items.iter().map(|item| self.eval(item)).collect();
        let list = Value::List(values.into_iter().collect::<Result<_, _>>()?);
        if list.list_depth() > MAX_LIST_DEPTH {
            return Err(self
                .error(span, format!("lists nest at most {MAX_LIST_DEPTH} deep"))
                .note("lists hold numbers, pairs of numbers, or tensors")
                .reported());
        }
        Ok(list)
    }

    fn negate(&mut self, x: &'a Expr<'s>, span: Span) -> Result<Value, Reported> {
        match self.eval(x)? {
            Value::Number(number) => Ok(Value::Number(-number)),
            Value::Tensor(value) => {
                let op = NnOp::Neg { x: value };
                self.push(op, "-", span, &[Operand::unnamed(value, x.span)])
                    .map(Value::Tensor)
            }
            other => Err(self.no_operand(x.span, &other, "-")),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: &'a Expr<'s>, b: &'a Expr<'s>, span: Span) -> Result<Value, Reported> {
        // Both sides are evaluated before either is given up, so that errors in both are found.
        let (left, right) = (self.eval(a), self.eval(b));
        match (left?, right?) {
            (Value::Number(x), Value::Number(y)) => self.number_op(op, x, y, span),
            (Value::Tensor(x), Value::Number(exponent)) if op == BinaryOp::Pow => {
                self.power(x, exponent, a.span, b.span, span)
            }
            (left, right) => {
                let left = self.operand(left, a.span, op.symbol());
                let right = self.operand(right, b.span, op.symbol());
                let (x, y) = (left?, right?);
                let nn_op = match op {
                    BinaryOp::Add => NnOp::Add { a: x, b: y },
                    BinaryOp::Sub => NnOp::Sub { a: x, b: y },
                    BinaryOp::Mul => NnOp::Mul { a: x, b: y },
                    BinaryOp::Div => NnOp::Div { a: x, b: y },
                    BinaryOp::Pow => {
                        return Err(self
                            .error(b.span, "the exponent of a tensor is a number")
                            .note("write it out: `x ** 3`")
                            .reported());
                    }
                };
                let operands = [Operand::unnamed(x, a.span), Operand::unnamed(y, b.span)];
                self.push(nn_op, op.symbol(), span, &operands).map(Value::Tensor)
            }
        }
    }

    fn number_op(&mut self, op: BinaryOp, x: f64, y: f64, span: Span) -> Result<Value, Reported> {
        let result = match op {
            BinaryOp::Add => x + y,
            BinaryOp::Sub => x - y,
            BinaryOp::Mul => x * y,
            BinaryOp::Div => x / y,
            BinaryOp::Pow => x.powf(y),
        };
        if result.is_finite() {
            return Ok(Value::Number(result));
        }
        Err(self
            .error(span, format!("{x} {} {y} is not a finite number", op.symbol()))
            .note("numbers are 64-bit floating point")
            .reported())
    }

    fn power(&mut self, x: ValueId, exponent: f64, base: Span, at: Span, span: Span) -> Result<Value, Reported> {
        match integer(exponent).and_then(|exponent| u32::try_from(exponent).ok()) {
            Some(exponent @ 1..) => {
                let op = NnOp::Pow { x, exponent };
                self.push(op, "**", span, &[Operand::unnamed(x, base)])
                    .map(Value::Tensor)
            }
            _ => Err(self
                .error(
                    at,
                    format!("the exponent of a tensor is a positive integer, found {exponent}"),
                )
                .note("use `sqrt(x)` or `reciprocal(x)` for roots and inverses")
                .reported()),
        }
    }

    /// A tensor, or a number as a constant.
    fn operand(&mut self, value: Value, span: Span, symbol: &str) -> Result<ValueId, Reported> {
        match value {
            Value::Tensor(value) => Ok(value),
            Value::Number(number) => self.number_constant(number, span),
            other => Err(self.no_operand(span, &other, symbol)),
        }
    }

    /// The constant op of a number; one per number, however often it is used.
    pub(super) fn number_constant(&mut self, number: f64, span: Span) -> Result<ValueId, Reported> {
        let key = format!("{number:?}");
        match self.constants.get(&key) {
            Some(&value) => Ok(value),
            None => self.constant(key, Tensor::scalar(number), "number", span),
        }
    }

    fn no_operand(&mut self, span: Span, value: &Value, symbol: &str) -> Reported {
        self.error(span, format!("`{symbol}` takes tensors and numbers"))
            .caret(value.kind())
            .note("name a tensor of a group: `w.fc1.weight`")
            .reported()
    }

    fn call(&mut self, callee: Word<'s>, args: &'a [Arg<'s>], span: Span) -> Result<Value, Reported> {
        if let Some(signature) = builtins::find(callee.text) {
            let bound = bind(self, callee, signature.params, &signature.usage(), args, span)?;
            return Call::new(self, signature, callee, span, bound)
                .lower()
                .map(Value::Tensor);
        }
        let Some(&function) = self.functions.get(callee.text) else {
            // Arguments are evaluated all the same, to find what is wrong in them.
            for arg in args {
                let _ = self.eval(&arg.value);
            }
            if self.is_broken {
                return Err(Reported);
            }
            let known = builtins::TABLE.iter().map(|signature| signature.name);
            let similar = closest(callee.text, known.chain(self.functions.keys().copied()));
            let note = match self.frame().bindings.contains_key(callee.text) {
                true => "it is a value, which cannot be called",
                false => "layers are listed in docs/model-language.md; functions are defined as `fn name(x) { .. }`",
            };
            return Err(self
                .error(callee.span, format!("unknown layer or function `{}`", callee.text))
                .suggest(similar)
                .note(note)
                .reported());
        };
        if self.active_calls().any(|name| name == callee.text) {
            return Err(self
                .error(callee.span, format!("the function `{}` calls itself", callee.text))
                .note("functions are inlined, so they cannot be recursive; write the repetitions out")
                .reported());
        }
        let params: Vec<Param> = function
            .params
            .iter()
            .map(|param| Param::of_function(param.name.text, param.default.is_some()))
            .collect();
        let usage = function_usage(callee.text, &params);
        let bound = bind(self, callee, &params, &usage, args, span)?;
        let mut bindings = BTreeMap::new();
        for (param, arg) in function.params.iter().zip(bound) {
            let (value, at) = match (arg, &param.default) {
                (Some(arg), _) => arg,
                (None, Some(default)) => (self.default_value(function, default, span)?, default.span),
                (None, None) => return Err(Reported),
            };
            bindings.insert(param.name.text, (value, at));
        }
        self.inline(function, bindings, span)
    }
}

fn function_usage(name: &str, params: &[Param]) -> String {
    let params: Vec<String> = params.iter().map(Param::to_string).collect();
    format!("{name}({})", params.join(", "))
}

/// `a`, `b` and 3 more.
pub(super) fn list_names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => "no tensors".to_string(),
        n if n <= MAX_LISTED => names.join(", "),
        n => format!("{} and {} more", names[..MAX_LISTED].join(", "), n - MAX_LISTED),
    }
}
