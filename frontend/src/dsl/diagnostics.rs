//! Errors of the model language: collected with their spans, rendered with file, line and caret.

use codespan_reporting::diagnostic::{Diagnostic, Label};
use codespan_reporting::files::SimpleFile;
use codespan_reporting::term;
use std::fmt;

/// More errors than this are counted, not kept.
const MAX_FINDINGS: usize = 64;

/// A byte range of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The range `start..end`; sources are shorter than 2^32 bytes.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Span {
            start: start as u32,
            end: end as u32,
        }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    /// From the start of this span to the end of `last`.
    pub(super) fn to(self, last: Span) -> Span {
        Span {
            start: self.start,
            end: last.end,
        }
    }
}

impl From<Span> for std::ops::Range<usize> {
    fn from(span: Span) -> Self {
        span.start()..span.end()
    }
}

/// Proof that an error was reported, so that whoever gets it need not report another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// The errors found so far.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    findings: Vec<Diagnostic<()>>,
    n_dropped: usize,
}

impl Diagnostics {
    /// Reports `message` at `span`. The same error at the same place (of a function that is called twice) counts once.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> Finding<'_> {
        let message = message.into();
        let range = std::ops::Range::from(span);
        let is_known = |known: &Diagnostic<()>| known.message == message && known.labels[0].range == range;
        if self.findings.iter().any(is_known) {
            return Finding(None);
        }
        if self.findings.len() == MAX_FINDINGS {
            self.n_dropped += 1;
            return Finding(None);
        }
        let finding = Diagnostic::error()
            .with_message(message)
            .with_label(Label::primary((), range));
        self.findings.push(finding);
        Finding(self.findings.last_mut())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The errors of the source called `name`, in order of position.
    pub(super) fn finish(mut self, name: &str, source: &str) -> SourceErrors {
        self.findings.sort_by_key(|finding| finding.labels[0].range.start);
        if self.n_dropped > 0 {
            let message = format!("{} more errors are not shown", self.n_dropped);
            self.findings.push(Diagnostic::note().with_message(message));
        }
        SourceErrors {
            file: SimpleFile::new(name.to_string(), source.to_string()),
            findings: self.findings,
        }
    }
}

/// An error just reported, to which notes may be added.
pub(super) struct Finding<'a>(Option<&'a mut Diagnostic<()>>);

impl Finding<'_> {
    /// Adds what the reader can do.
    pub(super) fn note(self, note: impl Into<String>) -> Self {
        self.edit(|finding| finding.notes.push(note.into()))
    }

    /// Adds "did you mean" when there is a close name.
    pub(super) fn suggest(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.note(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Writes `text` next to the caret.
    pub(super) fn caret(self, text: impl Into<String>) -> Self {
        self.edit(|finding| finding.labels[0].message = text.into())
    }

    /// Marks another place, and says why.
    pub(super) fn label(self, span: Span, text: impl Into<String>) -> Self {
        self.edit(|finding| {
            finding
                .labels
                .push(Label::secondary((), span).with_message(text.into()))
        })
    }

    /// Ends the report.
    pub(super) fn reported(self) -> Reported {
        Reported
    }

    fn edit(mut self, edit: impl FnOnce(&mut Diagnostic<()>)) -> Self {
        if let Some(finding) = self.0.as_deref_mut() {
            edit(finding);
        }
        self
    }
}

/// All errors of one model-language file, with the source they point into. Displays as plain text; never empty.
#[derive(Debug)]
pub struct SourceErrors {
    file: SimpleFile<String, String>,
    findings: Vec<Diagnostic<()>>,
}

impl SourceErrors {
    /// The errors, in order of position.
    pub fn diagnostics(&self) -> &[Diagnostic<()>] {
        &self.findings
    }

    /// Writes the errors to a terminal, in colour where `writer` has it.
    ///
    /// # Errors
    /// When writing fails.
    pub fn emit(&self, writer: &mut dyn term::WriteStyle) -> Result<(), codespan_reporting::files::Error> {
        let config = term::Config::default();
        self.findings
            .iter()
            .try_for_each(|finding| term::emit_to_write_style(writer, &config, &self.file, finding))
    }
}

impl fmt::Display for SourceErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = term::Config::default();
        for finding in &self.findings {
            match term::emit_into_string(&config, &self.file, finding) {
                Ok(text) => f.write_str(&text)?,
                Err(error) => writeln!(f, "error: {} (not rendered: {error})", finding.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for SourceErrors {}
