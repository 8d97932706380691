//! Lines for people: steps and problems on stderr, results on stdout, in the order in which they happen.

use std::io::{self, Write};

/// A result, on stdout.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
    let _ = io::stdout().flush();
}

/// What is being done right now, on stderr.
pub(crate) fn step(text: &str) {
    let _ = writeln!(io::stderr(), "==> {text}");
}

/// What went wrong, on stderr.
pub(crate) fn problem(text: &str) {
    let _ = writeln!(io::stderr(), "error: {text}");
}
