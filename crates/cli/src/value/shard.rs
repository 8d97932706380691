//! Shares of the work: `0/3`, or `3` where the environment says which.

use ::restore::job::Shard;

/// More processes than anybody starts; a larger number is a slip of the hand.
const MOST: usize = 100_000;

/// A share as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardArgument {
    index: Option<usize>,
    count: usize,
}

/// Reads `I/N` with I from 0 to N - 1, or `N`.
pub(crate) fn parse(text: &str) -> Result<ShardArgument, String> {
    let (index, count) = match text.split_once('/') {
        Some((index, count)) => (Some(number(index)?), number(count)?),
        None => (None, number(text)?),
    };
    if count == 0 || count > MOST {
        return Err(format!(
            "the number of shares must be from 1 to {MOST}, not {count}"
        ));
    }
    if let Some(index) = index {
        in_range(index, count)?;
    }
    Ok(ShardArgument { index, count })
}

impl ShardArgument {
    /// The share; `environment` is what stands in JOB_COMPLETION_INDEX.
    pub(crate) fn resolve(self, environment: Option<&str>) -> Result<Shard, String> {
        let index = match (self.index, environment) {
            (Some(index), _) => index,
            (None, Some(text)) => number(text).map_err(|error| format!("JOB_COMPLETION_INDEX: {error}"))?,
            (None, None) => {
                return Err(format!(
                    "--shard {count} does not say which share this process takes: say --shard 0/{count} and so on, or set \
                     JOB_COMPLETION_INDEX, as Kubernetes does for indexed Jobs",
                    count = self.count
                ));
            }
        };
        in_range(index, self.count)?;
        Ok(Shard {
            index,
            count: self.count,
        })
    }
}

fn in_range(index: usize, count: usize) -> Result<(), String> {
    match index < count {
        true => Ok(()),
        false => Err(format!(
            "shares are counted from 0: of {count}, the last one is {}, not {index}",
            count - 1
        )),
    }
}

fn number(text: &str) -> Result<usize, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("expected a share such as 0/3, found {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_with_and_without_a_place() {
        let shard = |index, count| Ok(Shard { index, count });
        assert_eq!(parse("0/3").and_then(|share| share.resolve(None)), shard(0, 3));
        assert_eq!(
            parse("2/3").and_then(|share| share.resolve(Some("0"))),
            shard(2, 3)
        );
        assert_eq!(parse("3").and_then(|share| share.resolve(Some("1"))), shard(1, 3));
        for (text, environment) in [("3", None), ("3", Some("3")), ("3", Some("x"))] {
            let share = parse(text).and_then(|share| share.resolve(environment));
            assert!(share.is_err(), "{text} {environment:?}");
        }
        for text in [
            "",
            "/",
            "3/3",
            "-1/3",
            "0/0",
            "0",
            "a/b",
            "1/2/3",
            "+1/3",
            "0/999999999",
        ] {
            assert!(parse(text).is_err(), "{text:?} gave {:?}", parse(text));
        }
    }
}
