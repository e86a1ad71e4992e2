//! Syntax tree of the model language.
//!
//! Ensures: no expression is deeper than [`MAX_DEPTH`], so that a walk by recursion cannot exhaust the stack.

use super::diagnostics::Span;

/// Expressions nested deeper than this are refused.
pub(super) const MAX_DEPTH: u32 = 128;

/// A word of the source: a name, possibly with dots, or the contents of a string.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'s> {
    pub text: &'s str,
    pub span: Span,
}

/// Functions and models of a file, in order.
#[derive(Debug)]
pub(super) enum Item<'s> {
    Function(Function<'s>),
    Model(Model<'s>),
    /// What a syntax error left behind; already reported.
    Broken,
}

#[derive(Debug)]
pub(super) struct Model<'s> {
    pub name: Word<'s>,
    pub body: Vec<Stmt<'s>>,
}

#[derive(Debug)]
pub(super) struct Function<'s> {
    pub name: Word<'s>,
    pub params: Vec<Param<'s>>,
    pub body: Vec<Stmt<'s>>,
    pub span: Span,
}

#[derive(Debug)]
pub(super) struct Param<'s> {
    pub name: Word<'s>,
    pub default: Option<Expr<'s>>,
}

#[derive(Debug)]
pub(super) struct Stmt<'s> {
    pub kind: StmtKind<'s>,
    pub span: Span,
}

#[derive(Debug)]
pub(super) enum StmtKind<'s> {
    Weights {
        name: Word<'s>,
        file: Word<'s>,
    },
    Input {
        name: Word<'s>,
        element: Word<'s>,
        shape: Vec<Expr<'s>>,
        range: Option<(Expr<'s>, Expr<'s>)>,
    },
    Let {
        name: Word<'s>,
        value: Expr<'s>,
    },
    Return {
        values: Vec<Expr<'s>>,
    },
    /// What a syntax error left behind; already reported.
    Broken,
}

#[derive(Debug)]
pub(super) struct Expr<'s> {
    pub kind: ExprKind<'s>,
    pub span: Span,
    depth: u32,
}

#[derive(Debug)]
pub(super) enum ExprKind<'s> {
    Number(f64),
    Bool(bool),
    /// `x`, `w.conv1.weight`
    Path(&'s str),
    /// `w["conv1/weight"]`
    Member(Word<'s>, Word<'s>),
    List(Vec<Expr<'s>>),
    Negate(Box<Expr<'s>>),
    Binary(BinaryOp, Box<Expr<'s>>, Box<Expr<'s>>),
    Call(Word<'s>, Vec<Arg<'s>>),
    /// What a syntax error left behind; already reported.
    Broken,
    /// Stands for an expression deeper than [`MAX_DEPTH`]; not reported yet.
    TooDeep,
}

#[derive(Debug)]
pub(super) struct Arg<'s> {
    pub name: Option<Word<'s>>,
    pub value: Expr<'s>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
}

impl BinaryOp {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Pow => "**",
        }
    }
}

impl<'s> Word<'s> {
    pub(super) fn new(text: &'s str, start: usize, end: usize) -> Self {
        Word {
            text,
            span: Span::new(start, end),
        }
    }
}

impl<'s> Arg<'s> {
    pub(super) fn new(name: Option<Word<'s>>, value: Expr<'s>) -> Self {
        Arg { name, value }
    }
}

impl<'s> Stmt<'s> {
    pub(super) fn new(kind: StmtKind<'s>, start: usize, end: usize) -> Self {
        Stmt {
            kind,
            span: Span::new(start, end),
        }
    }
}

impl<'s> Expr<'s> {
    /// An expression over `start..end`, one deeper than the deepest of its parts.
    pub(super) fn new(kind: ExprKind<'s>, start: usize, end: usize) -> Self {
        let span = Span::new(start, end);
        let parts = match &kind {
            ExprKind::List(items) => items.iter().map(|item| item.depth).max(),
            ExprKind::Call(_, args) => args.iter().map(|arg| arg.value.depth).max(),
            ExprKind::Negate(x) => Some(x.depth),
            ExprKind::Binary(_, a, b) => Some(a.depth.max(b.depth)),
            ExprKind::Number(_) | ExprKind::Bool(_) | ExprKind::Path(_) | ExprKind::Member(..) => None,
            ExprKind::Broken | ExprKind::TooDeep => None,
        };
        let depth = parts.unwrap_or(0) + 1;
        if depth > MAX_DEPTH {
            let kind = ExprKind::TooDeep;
            return Expr { kind, span, depth: 1 };
        }
        Expr { kind, span, depth }
    }

    pub(super) fn binary(op: BinaryOp, a: Expr<'s>, b: Expr<'s>) -> Self {
        let (start, end) = (a.span.start(), b.span.end());
        Expr::new(ExprKind::Binary(op, Box::new(a), Box::new(b)), start, end)
    }

    /// `x |> callee(args)`, which is `callee(x, args)`.
    pub(super) fn pipe(x: Expr<'s>, callee: Word<'s>, mut args: Vec<Arg<'s>>, end: usize) -> Self {
        args.insert(0, Arg::new(None, x));
        // The span is that of the call alone: carets shall point to the layer, not to the whole chain before it.
        Expr::new(ExprKind::Call(callee, args), callee.span.start(), end)
    }
}
