//! Options whose value is one of a few words, each with its own line of help.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// A word, what it does, and what it means to the program.
pub(crate) type Choice<T> = (&'static str, &'static str, T);

/// A parser for one of the words.
pub(crate) fn choice<T>(choices: &'static [Choice<T>]) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
{
    let words = choices
        .iter()
        .map(|(word, help, _)| PossibleValue::new(*word).help(*help));
    PossibleValuesParser::new(words).try_map(move |word| {
        let found = choices.iter().find(|(candidate, _, _)| *candidate == word);
        found
            .map(|(_, _, meaning)| meaning.clone())
            .ok_or_else(|| format!("{word:?} is none of the choices"))
    })
}
