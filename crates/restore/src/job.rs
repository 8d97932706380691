//! What is asked for: everything that a person can say about a restore, typed and complete.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backup::format::Decoding;
use backup::inventory::Selection;
use backup::layout::Layout;
use backup::storage::Store;
use backup::stream::{OnBadRecord, OnConflict, RejectSink};
use kafka::batch::Compression;
use kafka::config::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::journal::JournalFile;
use crate::snapshot::Snapshot;

pub use crate::shard::Shard;

/// The backup: where it lies and how it is to be read.
#[derive(Clone)]
pub struct Source {
    /// The bucket or folder.
    pub store: Arc<dyn Store>,
    /// Where snapshots of clusters are kept in it: see [`keep::folder`](crate::snapshot::keep::folder).
    pub snapshots: String,
    /// How object keys are read.
    pub layout: Layout,
    /// How objects are read.
    pub decoding: Decoding,
    /// Which topics, partitions and objects.
    pub selection: Selection,
    /// A backup that holds only the latest record of each key is wanted as what it is.
    pub latest_state: bool,
    /// Which records of those.
    pub records: RecordSelection,
    /// What happens where two objects disagree about a record.
    pub on_conflict: OnConflict,
    /// What happens at a record that cannot be decoded.
    pub on_bad_record: OnBadRecord,
    /// Where rejected bytes go.
    pub rejected: Option<Arc<dyn RejectSink>>,
}

/// Limits on records; each `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordSelection {
    /// First source offset, inclusive.
    pub from_offset: Option<i64>,
    /// Last source offset, inclusive.
    pub to_offset: Option<i64>,
    /// Earliest record timestamp, milliseconds, inclusive.
    pub from_time: Option<i64>,
    /// Latest record timestamp, milliseconds, inclusive.
    pub to_time: Option<i64>,
}

impl RecordSelection {
    /// True where every record is wanted.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// What a run may use of the machine and the network.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Bytes for everything in flight.
    pub memory: usize,
    /// Threads for decoding and compressing; `None` is one per core.
    pub jobs: Option<usize>,
    /// Payload bytes per second for the whole run.
    pub rate_limit: Option<u64>,
    /// The share of the partitions that this process takes; `None` is all of them.
    pub shard: Option<Shard>,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            jobs: None,
            rate_limit: None,
            shard: None,
        }
    }
}

/// How target offsets relate to source offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetMode {
    /// Exact where that is possible within the limit, else a map.
    #[default]
    Auto,
    /// The target offset of each record is its source offset.
    Exact,
    /// Target offsets are contiguous; a map tells which source offset went where.
    Map,
}

/// How much exact offsets may cost before [`OffsetMode::Auto`] chooses a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExactLimit {
    /// Estimated time for fillers and gaps.
    pub time: Duration,
    /// Estimated bytes on the brokers' disks at the peak.
    pub bytes: u64,
}

impl Default for ExactLimit {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(600),
            bytes: 5_000_000_000,
        }
    }
}

/// Whether missing topics are created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Create {
    /// A missing topic is created.
    #[default]
    Auto,
    /// A missing topic is an error.
    Never,
}

/// Wishes about topics that are created.
#[derive(Clone, Debug, Default)]
pub struct TopicWishes {
    /// Whether missing topics are created at all.
    pub create: Create,
    /// The number of partitions.
    pub partitions: Option<i32>,
    /// The number of replicas of each partition.
    pub replication_factor: Option<i16>,
    /// Topic configuration, by Kafka's names.
    pub configs: BTreeMap<String, String>,
    /// Partitions may be added to an existing topic.
    pub add_partitions: bool,
    /// The topic keeps its restore profile at the end.
    pub keep_profile: bool,
    /// A snapshot to create topics from, and where it came from; the newest one in the bucket where none is named.
    pub snapshot: Option<(String, Arc<Snapshot>)>,
    /// Another cluster to create topics from: those of the same names there.
    pub config_from: Option<ClientConfig>,
    /// A file that holds the journals too, beside the report.
    pub journal: Option<JournalFile>,
}

/// Where the records go, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// How the cluster is reached.
    pub cluster: ClientConfig,
    /// Target topic by source topic, where it differs.
    pub rename: BTreeMap<String, String>,
    /// How offsets are treated.
    pub offsets: OffsetMode,
    /// What exact offsets may cost.
    pub exact_limit: ExactLimit,
    /// Gaps may be filled with records that consumers pass over, where nothing else is permitted.
    pub hidden_records: bool,
    /// The target may hold other records, and ours come behind them.
    pub append: bool,
    /// All that stands in the target is compared before anything is added, not only its end.
    pub verify_existing: bool,
    /// Everything is read back and compared at the end.
    pub verify: bool,
    /// A file that holds the report while the restore goes on.
    pub interim_report: Option<PathBuf>,
    /// The codec; `None` follows each topic's `compression.type`.
    pub compression: Option<Compression>,
    /// Bytes that a batch aims at, compressed.
    pub batch_bytes: usize,
    /// Wishes about topics.
    pub topics: TopicWishes,
    /// Brokers that stay away for longer end the run.
    pub patience: Duration,
}

impl Target {
    /// A target with the defaults of the command line.
    pub fn new(cluster: ClientConfig) -> Self {
        Self {
            cluster,
            rename: BTreeMap::new(),
            offsets: OffsetMode::default(),
            exact_limit: ExactLimit::default(),
            hidden_records: false,
            append: false,
            verify_existing: false,
            verify: false,
            interim_report: None,
            compression: None,
            batch_bytes: 1_000_000,
            topics: TopicWishes::default(),
            patience: Duration::from_secs(300),
        }
    }

    /// The name of the topic that gets the records of `source`.
    pub fn topic_for<'a>(&'a self, source: &'a str) -> &'a str {
        self.rename.get(source).map_or(source, String::as_str)
    }
}

/// A restore: from where, to where, with what.
#[derive(Clone)]
pub struct Job {
    /// The backup.
    pub source: Source,
    /// The cluster.
    pub target: Target,
    /// The limits.
    pub resources: Resources,
}
