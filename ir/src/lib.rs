//! The dialects of Aphelion: typed SSA graphs, text form, verifiers and cleartext interpreters.
