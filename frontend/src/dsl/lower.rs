//! From the syntax tree to an `nn` graph: statements, functions and results.
//!
//! Functions are inlined where they are called and checked there. An op's origin is named after the bindings it stands
//! in, outermost first (`features/normed`), with the byte range of its expression. When a binding has several ops of one
//! kind, those after the first are numbered (`features#2`).

use super::ast::{Expr, ExprKind, Function, Item, Model, Stmt, StmtKind, Word};
use super::diagnostics::{Diagnostics, Finding, Reported, Span};
use super::items::{collect_functions, dotted, the_model};
use super::suggest::closest;
use super::value::{Value, integer};
use super::weights::WeightFile;
use super::{Import, builtins};
use aphelion_ir::nn::{Nn, NnOp};
use aphelion_ir::text::print_attr;
use aphelion_ir::{ConstantPool, Graph, IrError, Origin, ValueId};
use std::collections::BTreeMap;
use std::path::Path;

/// A model may have this many ops. Functions that call others twice grow exponentially.
const MAX_OPS: usize = 100_000;

/// Expressions evaluated, those in called functions included.
const MAX_STEPS: usize = 2_000_000;

/// Expressions and calls under evaluation at a time, which bounds the stack.
const MAX_NESTED: usize = 160;

/// Lowers the only model among `items`; weight files are looked for in `folder`.
pub(super) fn lower(items: &[Item<'_>], folder: &Path, diagnostics: &mut Diagnostics) -> Result<Import, Reported> {
    let is_broken = items.iter().any(|item| matches!(item, Item::Broken));
    let functions = collect_functions(items, diagnostics);
    let model = the_model(items, diagnostics)?;
    let mut lowerer = Lowerer {
        graph: Graph::new(model.name.text, ConstantPool::default()),
        diagnostics,
        folder,
        functions,
        is_broken,
        files: Vec::new(),
        constants: BTreeMap::new(),
        frames: vec![Frame::default()],
        labels: Vec::new(),
        n_named: BTreeMap::new(),
        input_ranges: BTreeMap::new(),
        n_steps: 0,
        n_nested: 0,
    };
    lowerer.model(model);
    lowerer.finish(model)
}

/// The bindings in sight: those of the model, or those of the function being inlined.
#[derive(Default)]
pub(super) struct Frame<'s> {
    pub bindings: BTreeMap<&'s str, (Value, Span)>,
    /// The function, and where it is called; `None` for the model.
    pub call: Option<(&'s str, Span)>,
    /// Whether statements were lost to syntax errors, so that a name may be unknown for that reason.
    pub is_broken: bool,
}

/// A tensor that an op takes, for messages about it.
pub(super) struct Operand {
    pub value: ValueId,
    /// Parameter of the layer; empty for operators.
    pub name: &'static str,
    pub span: Span,
}

impl Operand {
    /// An operand of an operator.
    pub(super) fn unnamed(value: ValueId, span: Span) -> Self {
        Operand { value, name: "", span }
    }

    fn describe(&self, graph: &Graph<Nn>) -> String {
        let ty = print_attr(graph.ty(self.value));
        match self.name {
            "" => ty,
            name => format!("{name}: {ty}"),
        }
    }
}

/// A declared weight file.
pub(super) struct WeightDecl<'s> {
    pub name: &'s str,
    pub file: WeightFile,
}

/// The state of a lowering.
pub(super) struct Lowerer<'a, 's> {
    pub graph: Graph<Nn>,
    pub diagnostics: &'a mut Diagnostics,
    folder: &'a Path,
    pub functions: BTreeMap<&'s str, &'a Function<'s>>,
    /// Whether a syntax error has taken functions away.
    pub is_broken: bool,
    pub files: Vec<WeightDecl<'s>>,
    /// The constants made so far, by name in the pool.
    pub constants: BTreeMap<String, ValueId>,
    frames: Vec<Frame<'s>>,
    labels: Vec<&'s str>,
    /// How many ops there are by name and kind.
    n_named: BTreeMap<(String, String), usize>,
    input_ranges: BTreeMap<String, (f64, f64)>,
    n_steps: usize,
    n_nested: usize,
}

impl<'a, 's> Lowerer<'a, 's> {
    /// Reports an error, with the calls that led to it.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> Finding<'_> {
        let calls: Vec<_> = self
            .frames
            .iter()
            .rev()
            .filter_map(|frame| frame.call)
            .take(2)
            .collect();
        let mut finding = self.diagnostics.error(span, message);
        for (name, at) in calls {
            finding = finding.label(at, format!("in this call of `{name}`"));
        }
        finding
    }

    pub(super) fn frame(&self) -> &Frame<'s> {
        self.frames.last().expect("the model's frame is never popped")
    }

    fn frame_mut(&mut self) -> &mut Frame<'s> {
        self.frames.last_mut().expect("the model's frame is never popped")
    }

    /// Functions that are being inlined, outermost first.
    pub(super) fn active_calls(&self) -> impl Iterator<Item = &'s str> {
        self.frames.iter().filter_map(|frame| frame.call.map(|(name, _)| name))
    }

    /// Runs `evaluate` one level deeper.
    pub(super) fn nested<T>(
        &mut self,
        span: Span,
        evaluate: impl FnOnce(&mut Self) -> Result<T, Reported>,
    ) -> Result<T, Reported> {
        self.n_steps += 1;
        if self.n_steps > MAX_STEPS {
            // Reported once: whoever is asked after that only unwinds.
            return Err(match self.n_steps == MAX_STEPS + 1 {
                true => self
                    .error(span, format!("the model takes more than {MAX_STEPS} steps to build"))
                    .note("functions that call each other twice grow exponentially; flatten them")
                    .reported(),
                false => Reported,
            });
        }
        if self.n_nested >= MAX_NESTED {
            return Err(self
                .error(
                    span,
                    format!("expressions and calls are nested deeper than {MAX_NESTED}"),
                )
                .note("give parts of the expression names with `let`, or flatten the functions")
                .reported());
        }
        self.n_nested += 1;
        let result = evaluate(self);
        self.n_nested -= 1;
        result
    }

    /// Evaluates the default of a parameter of `function`, where no binding is in sight.
    pub(super) fn default_value(
        &mut self,
        function: &'a Function<'s>,
        default: &'a Expr<'s>,
        call: Span,
    ) -> Result<Value, Reported> {
        self.frames.push(Frame {
            call: Some((function.name.text, call)),
            ..Frame::default()
        });
        let result = self.eval(default);
        self.frames.pop();
        result
    }

    /// Evaluates the body of `function` with its parameters bound to `bindings`.
    pub(super) fn inline(
        &mut self,
        function: &'a Function<'s>,
        bindings: BTreeMap<&'s str, (Value, Span)>,
        call: Span,
    ) -> Result<Value, Reported> {
        self.frames.push(Frame {
            bindings,
            call: Some((function.name.text, call)),
            is_broken: false,
        });
        let result = self.function_body(function);
        self.frames.pop();
        result
    }

    fn function_body(&mut self, function: &'a Function<'s>) -> Result<Value, Reported> {
        self.frame_mut().is_broken = has_broken(&function.body);
        for (index, stmt) in function.body.iter().enumerate() {
            match &stmt.kind {
                StmtKind::Let { name, value } => self.let_binding(*name, value),
                StmtKind::Return { values } => {
                    self.nothing_follows(&function.body, index);
                    return match values.as_slice() {
                        [value] => self.eval(value),
                        _ => Err(self
                            .error(stmt.span, "a function returns one value")
                            .note("return a list, or split the function")
                            .reported()),
                    };
                }
                StmtKind::Weights { .. } | StmtKind::Input { .. } => {
                    self.error(stmt.span, "weights and inputs are declared in the model")
                        .note("pass them to the function as parameters");
                }
                StmtKind::Broken => {}
            }
        }
        if self.frame().is_broken {
            return Err(Reported);
        }
        let span = function.name.span;
        Err(self
            .error(span, format!("the function `{}` returns nothing", function.name.text))
            .note("end it with `return` and a value")
            .reported())
    }

    fn model(&mut self, model: &'a Model<'s>) {
        self.frame_mut().is_broken = has_broken(&model.body);
        let mut has_return = false;
        for (index, stmt) in model.body.iter().enumerate() {
            match &stmt.kind {
                StmtKind::Weights { name, file } => self.weights(*name, *file),
                StmtKind::Input {
                    name,
                    element,
                    shape,
                    range,
                } => {
                    let value = self.input(*name, *element, shape, stmt.span);
                    self.bind(*name, value.map_or(Value::Poison, Value::Tensor));
                    if let (Ok(_), Some((low, high))) = (value, range) {
                        self.input_range(*name, low, high);
                    }
                }
                StmtKind::Let { name, value } => self.let_binding(*name, value),
                StmtKind::Return { values } => {
                    has_return = true;
                    self.results(values);
                    self.nothing_follows(&model.body, index);
                    break;
                }
                StmtKind::Broken => {}
            }
        }
        if !has_return && !self.frame().is_broken {
            self.error(
                model.name.span,
                format!("the model `{}` returns nothing", model.name.text),
            )
            .note("end it with `return` and its results");
        }
    }

    fn nothing_follows(&mut self, body: &[Stmt<'s>], index: usize) {
        if let (Some(next), false) = (body.get(index + 1), self.frame().is_broken) {
            let at = body[index].span;
            self.error(next.span, "nothing may follow `return`")
                .label(at, "the result is returned here")
                .note("delete the statement, or move it up");
        }
    }

    fn bind(&mut self, name: Word<'s>, value: Value) {
        if name.text.contains('.') {
            dotted(self.diagnostics, name);
            return;
        }
        if let Some((_, first)) = self.frame().bindings.get(name.text) {
            let first = *first;
            self.error(name.span, format!("`{}` is bound twice", name.text))
                .label(first, "the first binding")
                .note("give the second value another name");
            return;
        }
        self.frame_mut().bindings.insert(name.text, (value, name.span));
    }

    fn let_binding(&mut self, name: Word<'s>, value: &'a Expr<'s>) {
        self.labels.push(name.text);
        let value = self.eval(value).unwrap_or(Value::Poison);
        self.labels.pop();
        self.bind(name, value);
    }

    fn weights(&mut self, name: Word<'s>, file: Word<'s>) {
        let value = match WeightFile::open(self.folder, file.text) {
            Ok(opened) => {
                self.files.push(WeightDecl {
                    name: name.text,
                    file: opened,
                });
                Value::Scope {
                    file: self.files.len() - 1,
                    prefix: String::new(),
                }
            }
            Err(message) => {
                self.error(file.span, format!("weight file \"{}\": {message}", file.text))
                    .note("weight files lie beside the model file, or in a folder below it");
                Value::Poison
            }
        };
        self.bind(name, value);
    }

    fn input(
        &mut self,
        name: Word<'s>,
        element: Word<'s>,
        shape: &'a [Expr<'s>],
        span: Span,
    ) -> Result<ValueId, Reported> {
        if element.text != "f32" {
            return Err(self
                .error(element.span, format!("unknown element type `{}`", element.text))
                .note("tensors are `f32`")
                .reported());
        }
        let extents: Result<Vec<usize>, Reported> = shape.iter().map(|extent| self.extent(extent)).collect();
        let extents = extents?;
        if extents.first() != Some(&1) {
            let at = shape.first().map_or(span, |extent| extent.span);
            return Err(self
                .error(at, "the first extent of an input is the batch, which must be 1")
                .note("write the shape with its batch: `f32[1, 28, 28]`; the program runs once per sample")
                .reported());
        }
        let op = NnOp::Input {
            name: name.text.to_string(),
            shape: extents,
        };
        self.push_named(op, name.text, "input", span, &[])
    }

    fn extent(&mut self, expr: &'a Expr<'s>) -> Result<usize, Reported> {
        let value = self.eval(expr)?;
        match value {
            Value::Number(number) if number >= 1.0 && integer(number).is_some() => Ok(number as usize),
            other => Err(self
                .error(expr.span, "an extent is an integer of at least 1")
                .caret(other.kind())
                .note("write the shape as numbers: `f32[1, 28, 28]`")
                .reported()),
        }
    }

    fn input_range(&mut self, name: Word<'s>, low: &'a Expr<'s>, high: &'a Expr<'s>) {
        let bound = |lowerer: &mut Self, expr: &'a Expr<'s>| match lowerer.eval(expr)? {
            Value::Number(number) => Ok(number),
            other => Err(lowerer
                .error(expr.span, "a bound of a range is a number")
                .caret(other.kind())
                .note("write the range as `in [0, 1]`")
                .reported()),
        };
        if let (Ok(first), Ok(last)) = (bound(self, low), bound(self, high)) {
            if first < last {
                self.input_ranges.insert(name.text.to_string(), (first, last));
            } else {
                self.error(low.span.to(high.span), "the range is empty")
                    .note("the lower bound comes first: `in [0, 1]`");
            }
        }
    }

    fn results(&mut self, values: &'a [Expr<'s>]) {
        for expr in values {
            let name = match expr.kind {
                ExprKind::Path(path) if !path.contains('.') => path,
                _ if values.len() == 1 => "y",
                _ => {
                    self.error(expr.span, "one of several results needs a name")
                        .note("bind it with `let name = ..`, and return the name");
                    continue;
                }
            };
            self.labels.push(name);
            let value = self.eval(expr);
            self.labels.pop();
            match value {
                Ok(Value::Tensor(value)) => {
                    if self.graph.outputs().iter().any(|output| output.name == name) {
                        self.error(expr.span, format!("`{name}` is returned twice"))
                            .note("return it once");
                    } else {
                        self.graph.output(name, value);
                    }
                }
                Ok(other) => {
                    self.error(expr.span, "a result is a tensor")
                        .caret(other.kind())
                        .note("return what a layer computes");
                }
                Err(Reported) => {}
            }
        }
    }

    /// Appends an op of the expression at `span`. `operands` are the tensors it takes, with their places, for messages.
    pub(super) fn push(&mut self, op: NnOp, kind: &str, span: Span, operands: &[Operand]) -> Result<ValueId, Reported> {
        let mut name = self.labels.join("/");
        let n_named = self.n_named.entry((name.clone(), kind.to_string())).or_default();
        *n_named += 1;
        if *n_named > 1 {
            name = format!("{name}#{n_named}");
        }
        self.push_named(op, &name, kind, span, operands)
    }

    /// As [`Lowerer::push`], with another name for the origin.
    pub(super) fn push_named(
        &mut self,
        op: NnOp,
        name: &str,
        kind: &str,
        span: Span,
        operands: &[Operand],
    ) -> Result<ValueId, Reported> {
        if self.graph.len() >= MAX_OPS {
            return Err(self
                .error(span, format!("the model has more than {MAX_OPS} ops"))
                .note("functions that call each other twice grow exponentially; flatten them")
                .reported());
        }
        let origin = Origin::new(name, kind).with_span(span.start(), span.end());
        let error = match self.graph.push(op, origin) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let message = match &error {
            IrError::Invalid(findings) => findings
                .iter()
                .map(|finding| finding.message.as_str())
                .collect::<Vec<_>>()
                .join("; "),
            other => other.to_string(),
        };
        let types: Vec<_> = operands
            .iter()
            .map(|operand| (operand.span, operand.describe(&self.graph)))
            .collect();
        let usage = builtins::find(kind).map(builtins::Signature::usage);
        let mut finding = self.error(span, format!("`{kind}`: {message}"));
        for (at, ty) in types {
            finding = finding.label(at, ty);
        }
        Err(match usage {
            Some(usage) => finding.note(format!("usage: {usage}")).reported(),
            None if operands.is_empty() => finding.note("choose smaller extents").reported(),
            None => finding
                .note("shapes must be equal, or broadcast: extents are compared from the right, and 1 fits any")
                .reported(),
        })
    }

    /// The closest name in sight to `name`, for "did you mean".
    pub(super) fn similar_binding(&self, name: &str) -> Option<&'s str> {
        closest(name, self.frame().bindings.keys().copied())
    }

    fn finish(self, model: &Model<'s>) -> Result<Import, Reported> {
        if !self.diagnostics.is_empty() {
            return Err(Reported);
        }
        let is_input = |op: &NnOp| matches!(op, NnOp::Input { .. });
        let graph = self.graph.without_dead_ops(is_input).map_err(|error| {
            self.diagnostics
                .error(model.name.span, format!("the graph is not valid: {error}"))
                .reported()
        })?;
        Ok(Import {
            graph,
            input_ranges: self.input_ranges,
        })
    }
}

fn has_broken(body: &[Stmt<'_>]) -> bool {
    body.iter().any(|stmt| matches!(stmt.kind, StmtKind::Broken))
}
