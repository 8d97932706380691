//! Everything that can be said about a restore: `restore` and `plan` take the same options.

use clap::Args;

use super::content::ContentArguments;
use super::limit::{CompressionArguments, LimitArguments};
use super::offsets::OffsetArguments;
use super::safety::{SafetyArguments, TroubleArguments};
use super::selection::{RenameArguments, TopicArguments, WindowArguments};
use super::source::SourceArguments;
use super::target::TargetArguments;
use super::topics::CreationArguments;

/// Everything that can be said about a restore.
#[derive(Args, Clone, Debug)]
pub(crate) struct JobArguments {
    /// Which topics and partitions.
    #[command(flatten)]
    pub(crate) topics: TopicArguments,
    /// Which of their records.
    #[command(flatten)]
    pub(crate) window: WindowArguments,
    /// Where the backup is.
    #[command(flatten)]
    pub(crate) source: SourceArguments,
    /// How its files were written.
    #[command(flatten)]
    pub(crate) content: ContentArguments,
    /// Which cluster.
    #[command(flatten)]
    pub(crate) target: TargetArguments,
    /// Under which names.
    #[command(flatten)]
    pub(crate) rename: RenameArguments,
    /// At which offsets.
    #[command(flatten)]
    pub(crate) offsets: OffsetArguments,
    /// Into which topics.
    #[command(flatten)]
    pub(crate) creation: CreationArguments,
    /// What to do with broken content.
    #[command(flatten)]
    pub(crate) trouble: TroubleArguments,
    /// What may be done to a target that is not empty.
    #[command(flatten)]
    pub(crate) safety: SafetyArguments,
    /// How much of the machine to use.
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    /// How to compress.
    #[command(flatten)]
    pub(crate) compression: CompressionArguments,
}
