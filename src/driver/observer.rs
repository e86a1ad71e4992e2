//! Who is told how far a long step is.

use std::time::Duration;

/// Is told about progress, possibly from several threads.
pub trait Observer: Sync {
    /// A step begins, in a few words.
    fn stage(&self, name: &str);
    /// Part of the current step that is done, 0 to 1.
    fn progress(&self, fraction: f64);
    /// How long the rest of the current step will take, where that is known.
    fn time_left(&self, left: Duration);
    /// Something the user should know.
    fn notice(&self, text: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn stage(&self, _: &str) {}
    fn progress(&self, _: f64) {}
    fn time_left(&self, _: Duration) {}
    fn notice(&self, _: &str) {}
}
