//! Tokens of the text form.
//!
//! Ensures: every token carries its position; no input makes the lexer panic or loop.

use super::parser::ParseError;
use std::fmt;

/// A place in the text, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Ident(String),
    Number(String),
    Str(String),
    /// `@name`
    Symbol(String),
    /// `%7`
    Value(u32),
    /// `#0123abcd`
    Hash(String),
    Punct(char),
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Ident(s) | Token::Number(s) => write!(f, "`{s}`"),
            Token::Str(s) => write!(f, "{s:?}"),
            Token::Symbol(s) => write!(f, "`@{s}`"),
            Token::Value(v) => write!(f, "`%{v}`"),
            Token::Hash(s) => write!(f, "`#{s}`"),
            Token::Punct(c) => write!(f, "`{c}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

pub(super) fn is_symbol_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '$')
}

pub(super) struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    at: Position,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Lexer {
            rest: text.chars().peekable(),
            at: Position { line: 1, column: 1 },
        }
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at = Position {
                line: self.at.line + 1,
                column: 1,
            };
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    fn take_while(&mut self, mut keep: impl FnMut(char) -> bool) -> String {
        let mut out = String::new();
        while let Some(&c) = self.rest.peek() {
            if !keep(c) {
                break;
            }
            out.push(c);
            self.bump();
        }
        out
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.rest.peek() == Some(&';') {
                self.take_while(|c| c != '\n');
            } else {
                return;
            }
        }
    }

    /// The next token and where it begins. `;` opens a comment up to the end of the line.
    pub(super) fn next_token(&mut self) -> Result<(Token, Position), ParseError> {
        self.skip_blank();
        let at = self.at;
        let Some(&c) = self.rest.peek() else {
            return Ok((Token::End, at));
        };
        let token = match c {
            '"' => Token::Str(self.quoted(at)?),
            '@' => {
                self.bump();
                if self.rest.peek() == Some(&'"') {
                    Token::Symbol(self.quoted(at)?)
                } else {
                    Token::Symbol(self.nonempty(at, "a name after `@`", is_symbol_char)?)
                }
            }
            '%' => {
                self.bump();
                let digits = self.nonempty(at, "a number after `%`", |c| c.is_ascii_digit())?;
                Token::Value(
                    digits
                        .parse()
                        .map_err(|_| ParseError::new(at, format!("value %{digits} is too large")))?,
                )
            }
            '#' => {
                self.bump();
                Token::Hash(self.nonempty(at, "a fingerprint after `#`", |c| c.is_ascii_hexdigit())?)
            }
            c if c.is_ascii_digit() || c == '-' || c == '+' => {
                // `1e-5` and `-inf` are one token each: a sign belongs to it after an exponent mark.
                let mut previous = ' ';
                Token::Number(self.take_while(|c| {
                    let inside = c.is_ascii_alphanumeric()
                        || c == '.'
                        || ((c == '-' || c == '+') && matches!(previous, ' ' | 'e' | 'E'));
                    previous = c;
                    inside
                }))
            }
            c if c.is_ascii_alphabetic() || c == '_' => {
                Token::Ident(self.take_while(|c| c.is_ascii_alphanumeric() || c == '_'))
            }
            c => {
                self.bump();
                Token::Punct(c)
            }
        };
        Ok((token, at))
    }

    fn nonempty(&mut self, at: Position, what: &str, keep: impl FnMut(char) -> bool) -> Result<String, ParseError> {
        let out = self.take_while(keep);
        if out.is_empty() {
            Err(ParseError::new(at, format!("expected {what}")))
        } else {
            Ok(out)
        }
    }

    fn quoted(&mut self, at: Position) -> Result<String, ParseError> {
        self.bump();
        let mut out = String::new();
        loop {
            match self.bump() {
                None => return Err(ParseError::new(at, "the string has no closing quote")),
                Some('"') => return Ok(out),
                Some('\\') => match self.bump() {
                    Some('n') => out.push('\n'),
                    Some(c) => out.push(c),
                    None => return Err(ParseError::new(at, "the string has no closing quote")),
                },
                Some(c) => out.push(c),
            }
        }
    }
}
