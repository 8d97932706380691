//! Names that the S3 sink gives while `aws.s3.prefix` (or `aws_s3_prefix`) is set.
//!
//! The prefix is a template of its own; `<topic>-<partition>-<start offset>` follows without separator, with 20
//! digits of offset since version 2.7 and 10 before, and then the suffixes of the default template.
//! Source: `S3SinkTask.oldFullKey` of Aiven's sinks; `getFullKey` of their releases 2.5.0 and 2.6.0.

use super::pattern::{Padding, Part, TimeUnit};
use super::template::{Piece, TemplateError, placeholders};

/// The parts of a legacy name behind the given value of `aws.s3.prefix`.
pub(super) fn parts(prefix: &str) -> Result<Vec<Part>, TemplateError> {
    let fail = |reason: String| TemplateError {
        template: prefix.to_owned(),
        reason,
    };
    let mut parts = Vec::new();
    for piece in placeholders(prefix).map_err(fail)? {
        parts.push(match piece {
            Piece::Text(text) => Part::Literal(text.to_owned()),
            Piece::Variable(variable) => match variable.name {
                "topic" => Part::Topic,
                // Bound without its parameter, so never padded.
                "partition" => Part::Partition(Padding::None),
                "start_offset" => Part::StartOffset(variable.padding().map_err(fail)?),
                // The connector turns YYYY into yyyy in this option.
                "timestamp" => match variable.unit().map_err(fail)? {
                    TimeUnit::WeekYear => Part::Time(TimeUnit::Year),
                    unit => Part::Time(unit),
                },
                "utc_date" => Part::UtcDate,
                "local_date" => Part::LocalDate,
                // What is not bound stays as it is written.
                _ => Part::Literal(variable.text.to_owned()),
            },
        });
    }
    parts.extend([
        Part::Topic,
        Part::Literal("-".into()),
        Part::Partition(Padding::None),
        Part::Literal("-".into()),
        Part::StartOffset(Padding::Legacy),
        Part::Suffix,
    ]);
    Ok(parts)
}
