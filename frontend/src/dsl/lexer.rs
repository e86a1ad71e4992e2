//! Tokens of the model language.
//!
//! Ensures: every byte of the source belongs to one token, a blank, a comment or a reported error; the lexer never
//! panics. Names may have dots (`w.conv1.weight`, `w.layers.0.bias`) and are one token then.

use super::diagnostics::{Diagnostics, Span};
use logos::Logos;
use std::fmt;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum LexError {
    #[default]
    Unexpected,
    OpenString,
    NumberRange,
}

#[derive(Clone, Copy, Debug, Logos, PartialEq)]
#[logos(error = LexError)]
#[logos(skip r"[ \t\r\n]+")]
#[logos(skip(r"//[^\n]*", allow_greedy = true))]
pub(super) enum Token<'s> {
    #[token("model")]
    Model,
    #[token("fn")]
    Fn,
    #[token("weights")]
    Weights,
    #[token("input")]
    Input,
    #[token("let")]
    Let,
    #[token("return")]
    Return,
    #[token("in")]
    In,
    #[token("true")]
    True,
    #[token("false")]
    False,
    #[regex(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")]
    Path(&'s str),
    #[regex(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", |lex| number(lex.slice()))]
    Number(f64),
    #[regex(r#""[^"\n]*""#, |lex| unquoted(lex.slice()))]
    #[regex(r#""[^"\n]*"#, |_| Err(LexError::OpenString))]
    Text(&'s str),
    #[token("{")]
    OpenBrace,
    #[token("}")]
    CloseBrace,
    #[token("(")]
    OpenParen,
    #[token(")")]
    CloseParen,
    #[token("[")]
    OpenBracket,
    #[token("]")]
    CloseBracket,
    #[token(",")]
    Comma,
    #[token(":")]
    Colon,
    #[token("=")]
    Equal,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("**")]
    Power,
    #[token("*")]
    Star,
    #[token("/")]
    Slash,
    #[token("|>")]
    Pipe,
}

fn number(text: &str) -> Result<f64, LexError> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(LexError::NumberRange),
    }
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
}

impl Token<'_> {
    /// Whether a statement or an item begins here; a syntax error never reaches beyond.
    pub(super) fn begins_statement(&self) -> bool {
        matches!(
            self,
            Token::Model | Token::Fn | Token::Weights | Token::Input | Token::Let | Token::Return
        )
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Token::Path(name) => return write!(f, "`{name}`"),
            Token::Number(value) => return write!(f, "the number {value}"),
            Token::Text(_) => "a string",
            Token::Model => "`model`",
            Token::Fn => "`fn`",
            Token::Weights => "`weights`",
            Token::Input => "`input`",
            Token::Let => "`let`",
            Token::Return => "`return`",
            Token::In => "`in`",
            Token::True => "`true`",
            Token::False => "`false`",
            Token::OpenBrace => "`{`",
            Token::CloseBrace => "`}`",
            Token::OpenParen => "`(`",
            Token::CloseParen => "`)`",
            Token::OpenBracket => "`[`",
            Token::CloseBracket => "`]`",
            Token::Comma => "`,`",
            Token::Colon => "`:`",
            Token::Equal => "`=`",
            Token::Plus => "`+`",
            Token::Minus => "`-`",
            Token::Power => "`**`",
            Token::Star => "`*`",
            Token::Slash => "`/`",
            Token::Pipe => "`|>`",
        };
        f.write_str(text)
    }
}

/// A token between two byte positions, as the parser takes them.
pub(super) type Lexeme<'s> = (usize, Token<'s>, usize);

/// All tokens of `source`, and where unreadable stretches begin; those are reported, neighbouring ones once.
pub(super) fn tokens<'s>(source: &'s str, diagnostics: &mut Diagnostics) -> (Vec<Lexeme<'s>>, Vec<usize>) {
    let (mut tokens, mut unreadable) = (Vec::new(), Vec::new());
    let mut unexpected: Option<Span> = None;
    for (token, range) in Token::lexer(source).spanned() {
        let span = Span::new(range.start, range.end);
        if token.is_err() {
            unreadable.push(range.start);
        }
        match token {
            Ok(token) => tokens.push((range.start, token, range.end)),
            Err(LexError::Unexpected) => {
                unexpected = match unexpected {
                    Some(open) if open.end() == range.start => Some(open.to(span)),
                    Some(open) => {
                        report_unexpected(source, open, diagnostics);
                        Some(span)
                    }
                    None => Some(span),
                };
            }
            Err(LexError::OpenString) => {
                diagnostics
                    .error(span, "the string has no closing quote")
                    .note("close it with `\"` on the same line");
            }
            Err(LexError::NumberRange) => {
                diagnostics
                    .error(span, "the number is too large")
                    .note("numbers are 64-bit floating point, at most about 1.8e308");
            }
        }
    }
    if let Some(open) = unexpected {
        report_unexpected(source, open, diagnostics);
    }
    (tokens, unreadable)
}

/// The character itself, or an escape when it would not show.
fn shown_char(c: char) -> String {
    if c.is_control() {
        c.escape_default().to_string()
    } else {
        c.to_string()
    }
}

fn report_unexpected(source: &str, span: Span, diagnostics: &mut Diagnostics) {
    let text = source.get(span.start()..span.end()).unwrap_or_default();
    let note = match text.chars().next() {
        Some('#' | '%') => "a comment begins with `//`",
        Some(';') => "statements need no separator; delete it",
        Some('\'') => "strings stand in double quotes",
        Some('.') => "a number needs digits on both sides of its point, as in `0.5`",
        Some('^') => "the power operator is `**`",
        Some('@') => "the matrix product is `matmul(a, b)`",
        _ => "the language uses ASCII letters, digits, and `{ } ( ) [ ] , : = + - * / ** |>`",
    };
    let shown: String = text.chars().take(12).map(shown_char).collect();
    diagnostics.error(span, format!("unexpected `{shown}`")).note(note);
}
