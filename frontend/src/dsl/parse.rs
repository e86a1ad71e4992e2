//! From source text to the syntax tree; syntax errors are collected, one per statement.
//!
//! Ensures: work and stack are bounded for any input: brackets nest at most [`MAX_BRACKETS`] deep and statements have at
//! most [`MAX_STATEMENT_TOKENS`] tokens, which is checked before the parser runs.

use super::ast::Item;
use super::diagnostics::{Diagnostics, Reported, Span};
use super::lexer::{self, Lexeme, Token};
use lalrpop_util::{ErrorRecovery, ParseError};
use std::convert::Infallible;

mod grammar {
    #![allow(
        clippy::all,
        clippy::pedantic,
        missing_docs,
        unused,
        elided_lifetimes_in_paths,
        reason = "generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/dsl/grammar.rs"));
}

/// A syntax error after which the parser went on.
pub(super) type Recovered<'s> = ErrorRecovery<usize, Token<'s>, Infallible>;

/// Sources longer than this are refused.
pub(super) const MAX_SOURCE_BYTES: usize = 1 << 18;

/// Brackets of all kinds may nest this deep.
const MAX_BRACKETS: usize = 64;

/// Tokens from one statement keyword to the next; bounds the parser's stack and the price of a syntax error.
const MAX_STATEMENT_TOKENS: usize = 8192;

/// More expected tokens than this are not listed.
const MAX_EXPECTED: usize = 6;

/// Parses `source`. The tree leaves out what was malformed; whether something was is in `diagnostics`.
///
/// # Errors
/// When nothing could be made of the source.
pub(super) fn parse<'s>(source: &'s str, diagnostics: &mut Diagnostics) -> Result<Vec<Item<'s>>, Reported> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(diagnostics
            .error(Span::new(0, 0), format!("the source has {} bytes", source.len()))
            .note(format!(
                "at most {MAX_SOURCE_BYTES} are read; weights belong into a weight file"
            ))
            .reported());
    }
    let (tokens, unreadable) = lexer::tokens(source, diagnostics);
    check_bounds(&tokens, diagnostics)?;
    let mut recovered = Vec::new();
    let parsed = grammar::FileParser::new().parse(&mut recovered, tokens.iter().copied());
    let mut reporter = Reporter {
        tokens: &tokens,
        unreadable: &unreadable,
        diagnostics,
    };
    for recovery in recovered {
        reporter.report(recovery.error);
    }
    parsed.map_err(|error| {
        reporter.report(error);
        Reported
    })
}

fn check_bounds(tokens: &[Lexeme<'_>], diagnostics: &mut Diagnostics) -> Result<(), Reported> {
    let (mut n_open, mut n_tokens) = (0usize, 0usize);
    for &(start, token, end) in tokens {
        match token {
            Token::OpenBrace | Token::OpenParen | Token::OpenBracket => n_open += 1,
            Token::CloseBrace | Token::CloseParen | Token::CloseBracket => n_open = n_open.saturating_sub(1),
            _ => {}
        }
        n_tokens = if token.begins_statement() { 1 } else { n_tokens + 1 };
        if n_open > MAX_BRACKETS {
            return Err(diagnostics
                .error(
                    Span::new(start, end),
                    format!("brackets are nested deeper than {MAX_BRACKETS}"),
                )
                .note("give parts of the expression names with `let`, or close a bracket that is open")
                .reported());
        }
        if n_tokens > MAX_STATEMENT_TOKENS {
            return Err(diagnostics
                .error(
                    Span::new(start, end),
                    format!("the statement has more than {MAX_STATEMENT_TOKENS} words and marks"),
                )
                .note("give parts of it names with `let`; long tables of numbers belong into a weight file")
                .reported());
        }
    }
    Ok(())
}

struct Reporter<'a, 's> {
    tokens: &'a [Lexeme<'s>],
    unreadable: &'a [usize],
    diagnostics: &'a mut Diagnostics,
}

impl Reporter<'_, '_> {
    fn report(&mut self, error: ParseError<usize, Token<'_>, Infallible>) {
        let (at, found, expected) = match error {
            ParseError::UnrecognizedToken { token, expected } => (token.0, Some(token), expected),
            ParseError::ExtraToken { token } => (token.0, Some(token), Vec::new()),
            ParseError::UnrecognizedEof { location, expected } => (location, None, expected),
            ParseError::InvalidToken { location } => (location, None, Vec::new()),
            ParseError::User { error } => match error {},
        };
        let before = &self.tokens[..self.tokens.partition_point(|token| token.0 < at)];
        let statement = before.iter().rfind(|token| token.1.begins_statement());
        let statement = statement.map_or(0, |token| token.0);
        if self
            .unreadable
            .iter()
            .any(|unreadable| (statement..=at).contains(unreadable))
        {
            // Reported by the lexer; the syntax error only follows from it.
            return;
        }
        let end = before.last().map_or(0, |token| token.2);
        let span = match found {
            // Something is missing at the end of a statement, which may be lines above what was found.
            None => Span::new(end, end),
            Some((_, token, _)) if token.begins_statement() && !before.is_empty() => Span::new(end, end),
            Some((start, _, end)) => Span::new(start, end),
        };
        let name = found.map_or("the end of the file".to_string(), |(_, token, _)| token.to_string());
        let wanted = describe(&expected);
        let finding = self.diagnostics.error(span, format!("expected {wanted}, found {name}"));
        if wanted.starts_with("a statement") && found.is_some() {
            finding.note("a statement begins with `weights`, `input`, `let` or `return`");
        } else if wanted.contains("`model`") {
            finding.note("a file holds functions, `fn name(x) { .. }`, and one model, `model name { .. }`");
        } else if found.is_none() && expected.iter().any(|name| name.contains('}')) {
            finding.note("close the block with `}`");
        }
    }
}

/// Folds the parser's list of expected tokens into words.
fn describe(expected: &[String]) -> String {
    // The names of the grammar are quoted where they are literal: "\"let\"", "\"a name\"".
    let mut names: Vec<&str> = expected.iter().map(|name| name.trim_matches('"')).collect();
    let mut words = Vec::new();
    let mut fold = |group: &[&str], word: &str| {
        if group.iter().all(|name| names.contains(name)) {
            names.retain(|name| !group.contains(name));
            words.push(word.to_string());
        }
    };
    fold(&["weights", "input", "let", "return"], "a statement");
    fold(&["a name", "a number", "true", "false", "(", "[", "-"], "an expression");
    fold(&["+", "-", "*", "/"], "an operator");
    names.retain(|name| !words.iter().any(|word| word == "an operator") || !matches!(*name, "**" | "|>" | "(" | "["));
    let quote = |name: &&str| {
        if name.starts_with("a ") {
            (*name).to_string()
        } else {
            format!("`{name}`")
        }
    };
    words.extend(names.iter().map(quote));
    match words.split_last() {
        None => "nothing more".to_string(),
        Some((only, [])) => only.clone(),
        Some((last, first)) if words.len() <= MAX_EXPECTED => format!("{} or {last}", first.join(", ")),
        Some(_) => "something else".to_string(),
    }
}
