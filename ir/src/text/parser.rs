//! Parses graphs; the inverse of the printer. Every failure names line and column.

use super::lexer::{Lexer, Position, Token};
use crate::attr::Attr;
use crate::constant::{ConstRef, ConstantPool, Tensor};
use crate::dialect::{Dialect, Op};
use crate::error::IrError;
use crate::graph::{Graph, ValueId};
use crate::origin::Origin;

/// Attributes nested deeper than this are refused, so that hostile text cannot exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Inline constants may claim at most this many values.
const MAX_INLINE_VALUES: usize = 1 << 16;

/// Why a text is no graph, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct ParseError {
    /// Where the offending token begins.
    pub at: Position,
    /// What was expected and what was found.
    pub message: String,
}

impl ParseError {
    /// An error at `at`.
    pub fn new(at: Position, message: impl Into<String>) -> Self {
        ParseError {
            at,
            message: message.into(),
        }
    }
}

/// A token stream with one token of look-ahead.
pub struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    at: Position,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Starts at the beginning of `text`.
    ///
    /// # Errors
    /// When the first token is malformed.
    pub fn new(text: &'a str) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(text);
        let (token, at) = lexer.next_token()?;
        Ok(Parser {
            lexer,
            token,
            at,
            depth: 0,
        })
    }

    /// Where the current token begins.
    pub fn position(&self) -> Position {
        self.at
    }

    /// An error that says what was expected instead of the current token.
    pub fn unexpected(&self, expected: &str) -> ParseError {
        ParseError::new(self.at, format!("expected {expected}, found {}", self.token))
    }

    fn advance(&mut self) -> Result<Token, ParseError> {
        let (token, at) = self.lexer.next_token()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// An identifier.
    ///
    /// # Errors
    /// When the current token is none.
    pub fn ident(&mut self) -> Result<String, ParseError> {
        match &self.token {
            Token::Ident(name) => {
                let name = name.clone();
                self.advance()?;
                Ok(name)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    /// Takes the identifier `name` if it is next. A malformed token after it shows at the next call.
    pub fn accept_ident(&mut self, name: &str) -> bool {
        matches!(&self.token, Token::Ident(found) if found == name) && self.advance().is_ok()
    }

    /// The identifier `name`.
    ///
    /// # Errors
    /// When it is not next.
    pub fn ident_is(&mut self, name: &str) -> Result<(), ParseError> {
        if matches!(&self.token, Token::Ident(found) if found == name) {
            self.advance().map(drop)
        } else {
            Err(self.unexpected(&format!("`{name}`")))
        }
    }

    /// The punctuation mark `mark` (one character).
    ///
    /// # Errors
    /// When it is not next.
    pub fn punct(&mut self, mark: &str) -> Result<(), ParseError> {
        if self.at_punct(mark) {
            self.advance().map(drop)
        } else {
            Err(self.unexpected(&format!("`{mark}`")))
        }
    }

    fn at_punct(&self, mark: &str) -> bool {
        matches!(self.token, Token::Punct(c) if mark.chars().eq([c]))
    }

    /// A quoted string.
    ///
    /// # Errors
    /// When the current token is none.
    pub fn string(&mut self) -> Result<String, ParseError> {
        match &self.token {
            Token::Str(text) => {
                let text = text.clone();
                self.advance()?;
                Ok(text)
            }
            _ => Err(self.unexpected("a quoted string")),
        }
    }

    /// A symbol `@name`, without the mark.
    ///
    /// # Errors
    /// When the current token is none.
    pub fn symbol(&mut self) -> Result<String, ParseError> {
        match &self.token {
            Token::Symbol(name) => {
                let name = name.clone();
                self.advance()?;
                Ok(name)
            }
            _ => Err(self.unexpected("a symbol like `@name`")),
        }
    }

    /// A value `%7`.
    ///
    /// # Errors
    /// When the current token is none.
    pub fn value(&mut self) -> Result<ValueId, ParseError> {
        match self.token {
            Token::Value(index) => {
                self.advance()?;
                Ok(ValueId(index))
            }
            _ => Err(self.unexpected("a value like `%7`")),
        }
    }

    fn number(&mut self, what: &str) -> Result<String, ParseError> {
        match &self.token {
            Token::Number(text) => Ok(text.clone()),
            // `NaN` and `inf` lex as names.
            Token::Ident(text) if matches!(text.as_str(), "NaN" | "inf") => Ok(text.clone()),
            _ => Err(self.unexpected(what)),
        }
    }

    /// An integer that fits `T`.
    ///
    /// # Errors
    /// When the current token is none.
    pub fn integer<T: std::str::FromStr>(&mut self) -> Result<T, ParseError> {
        let text = self.number("an integer")?;
        let value = text.parse().map_err(|_| self.unexpected("an integer in range"))?;
        self.advance()?;
        Ok(value)
    }

    /// A floating-point number.
    ///
    /// # Errors
    /// When the current token is none.
    pub fn float(&mut self) -> Result<f64, ParseError> {
        let text = self.number("a number")?;
        let value = text.parse().map_err(|_| self.unexpected("a number"))?;
        self.advance()?;
        Ok(value)
    }

    /// A list `[a, b, c]`.
    ///
    /// # Errors
    /// When it is malformed, or nested too deep.
    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, ParseError>) -> Result<Vec<T>, ParseError> {
        self.punct("[")?;
        self.descend()?;
        let mut items = Vec::new();
        while !self.at_punct("]") {
            if !items.is_empty() {
                self.punct(",")?;
            }
            items.push(item(self)?);
        }
        self.punct("]")?;
        self.depth -= 1;
        Ok(items)
    }

    fn descend(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::new(self.at, format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }
}

/// Reads `{a: .., b: ..}` field by field, in order; nothing at all when there are no fields.
pub struct Fields {
    n_fields: usize,
    /// Whether a field may come next: at the beginning, or after a comma.
    is_separated: bool,
    /// Whether a comma was read that no field followed yet.
    has_comma: bool,
}

impl Fields {
    /// Opens the braces.
    ///
    /// # Errors
    /// When they are missing or nested too deep.
    pub fn open(parser: &mut Parser<'_>, names: &[&str]) -> Result<Self, ParseError> {
        if !names.is_empty() {
            parser.punct("{")?;
            parser.descend()?;
        }
        Ok(Fields {
            n_fields: names.len(),
            is_separated: true,
            has_comma: false,
        })
    }

    /// Reads the field `name`, or takes what it is where the text may leave it out and does.
    ///
    /// # Errors
    /// When another field comes next, or its value is malformed.
    pub fn next<A: Attr>(&mut self, parser: &mut Parser<'_>, name: &str) -> Result<A, ParseError> {
        if !self.is_separated && (A::left_out().is_none() || parser.at_punct(",")) {
            parser.punct(",")?;
            (self.is_separated, self.has_comma) = (true, true);
        }
        let is_here = self.is_separated && parser.accept_ident(name);
        match A::left_out() {
            Some(value) if !is_here => return Ok(value),
            None if !is_here => parser.ident_is(name)?,
            _ => {}
        }
        (self.is_separated, self.has_comma) = (false, false);
        parser.punct(":")?;
        A::parse(parser)
    }

    /// Closes the braces.
    ///
    /// # Errors
    /// When more stands in them than the fields read.
    pub fn close(self, parser: &mut Parser<'_>) -> Result<(), ParseError> {
        if self.has_comma {
            return Err(parser.unexpected("a field"));
        }
        if self.n_fields > 0 {
            parser.punct("}")?;
            parser.depth -= 1;
        }
        Ok(())
    }
}

/// Parses and verifies a graph. Constants that stand in the text by fingerprint are taken from `constants`.
///
/// # Errors
/// [`IrError::Parse`] with line and column, [`IrError::Constant`] when a constant is missing or its fingerprint
/// differs, [`IrError::Invalid`] when a type rule rejects an op.
pub fn parse_graph<D: Dialect>(text: &str, constants: &ConstantPool) -> Result<Graph<D>, IrError> {
    let mut parser = Parser::new(text)?;
    parser.ident_is(D::NAME)?;
    let mut graph = Graph::<D>::new(parser.symbol()?, ConstantPool::default());
    if parser.accept_ident("attrs") {
        graph.attrs = D::Attrs::parse(&mut parser)?;
    }
    parser.punct("{")?;
    while parser.accept_ident("const") {
        parse_constant(&mut parser, &mut graph.constants, constants)?;
    }
    while let Token::Value(_) = parser.token {
        parse_node(&mut parser, &mut graph)?;
    }
    while parser.accept_ident("return") {
        let name = parser.string()?;
        parser.punct("=")?;
        let at = parser.position();
        let value = parser.value()?;
        if value.index() >= graph.len() {
            return Err(ParseError::new(at, format!("value {value} is not defined")).into());
        }
        graph.output(name, value);
    }
    parser.punct("}")?;
    match parser.token {
        Token::End => Ok(graph),
        _ => Err(parser.unexpected("the end of the text").into()),
    }
}

fn parse_constant(parser: &mut Parser<'_>, pool: &mut ConstantPool, known: &ConstantPool) -> Result<(), IrError> {
    let at = parser.position();
    let name = ConstRef::parse(parser)?;
    parser.punct(":")?;
    let is_f32 = match parser.ident()?.as_str() {
        "f32" => true,
        "f64" => false,
        other => {
            return Err(ParseError::new(at, format!("unknown element type `{other}`, expected f32 or f64")).into());
        }
    };
    let shape = Vec::<usize>::parse(parser)?;
    parser.punct("=")?;
    let tensor = if let Token::Hash(fingerprint) = parser.token.clone() {
        parser.advance()?;
        let tensor = known.get(&name)?;
        let found = tensor.fingerprint()?;
        if tensor.shape() != shape || found != fingerprint {
            return Err(IrError::constant(
                &name.0,
                format!(
                    "expected shape {shape:?} and fingerprint {fingerprint}, found {:?} and {found}",
                    tensor.shape()
                ),
            ));
        }
        tensor.clone()
    } else {
        let values = Vec::<f64>::parse(parser)?;
        let n_values = shape
            .iter()
            .try_fold(1usize, |product, &extent| product.checked_mul(extent));
        if n_values != Some(values.len()) || values.len() > MAX_INLINE_VALUES {
            return Err(ParseError::new(at, format!("shape {shape:?} does not hold {} values", values.len())).into());
        }
        if is_f32 {
            Tensor::from_f32(shape, values.into_iter().map(|value| value as f32).collect())
        } else {
            Tensor::from_f64(shape, values)
        }
    };
    let stored = pool.insert(&name.0, tensor);
    if stored != name {
        return Err(ParseError::new(at, format!("constant @{name} is defined twice")).into());
    }
    Ok(())
}

fn parse_node<D: Dialect>(parser: &mut Parser<'_>, graph: &mut Graph<D>) -> Result<(), IrError> {
    let at = parser.position();
    let value = parser.value()?;
    if value.index() != graph.len() {
        return Err(ParseError::new(
            at,
            format!("expected %{} to be defined next, found {value}", graph.len()),
        )
        .into());
    }
    parser.punct("=")?;
    let mnemonic_at = parser.position();
    let mnemonic = parser.ident()?;
    let op = D::Op::parse(&mnemonic, parser)?.ok_or_else(|| {
        let known: Vec<_> = D::Op::TABLE.iter().map(|row| row.mnemonic).collect();
        ParseError::new(
            mnemonic_at,
            format!("`{}` has no op `{mnemonic}`; it has {}", D::NAME, known.join(", ")),
        )
    })?;
    parser.punct(":")?;
    let ty_at = parser.position();
    let ty = D::Type::parse(parser)?;
    let mut origin = Origin::default();
    if parser.accept_ident("from") {
        origin = Origin::new(parser.string()?, parser.string()?);
        if matches!(parser.token, Token::Number(_)) {
            let start = parser.integer()?;
            parser.ident_is("to")?;
            origin.span = Some((start, parser.integer()?));
        }
    }
    let id = graph.push(op, origin).map_err(|error| match error {
        IrError::Invalid(findings) => {
            let message = findings
                .into_iter()
                .map(|finding| finding.message)
                .collect::<Vec<_>>()
                .join("; ");
            IrError::Parse(ParseError::new(mnemonic_at, message))
        }
        other => other,
    })?;
    if *graph.ty(id) != ty {
        let inferred = super::print_attr(graph.ty(id));
        return Err(ParseError::new(ty_at, format!("the type rule gives {inferred}")).into());
    }
    Ok(())
}
