//! A whole restore, typed: what `restore` and `plan` work on.

use std::sync::Arc;

use ::restore::job::{Job, RecordSelection, Resources, Source, Target, TopicWishes};
use ::restore::snapshot::keep;
use backup::format::Decoding;
use backup::inventory::Selection;
use backup::layout::Layout;
use backup::layout::connector::{ConnectorSettings, Naming};
use backup::storage::url::StorageConfig;
use backup::stream::RejectSink;
use kafka::config::ClientConfig;

use super::content::Content;
use super::{connector, selection, source, target};
use crate::argument::content::ContentArguments;
use crate::argument::job::JobArguments;
use crate::argument::limit::LimitArguments;
use crate::argument::offsets::ModeArguments;
use crate::argument::safety::TroubleArguments;
use crate::argument::selection::RenameArguments;
use crate::argument::source::SourceArguments;
use crate::config::{ConfigError, ConfigFile};

/// Where the backup is, and everything about reading it.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    /// Where it is and how to get in.
    pub(crate) storage: StorageConfig,
    /// How its files were written.
    pub(crate) content: Content,
    /// Which topics, partitions and objects.
    pub(crate) selection: Selection,
    /// Which of their records.
    pub(crate) records: RecordSelection,
}

/// A whole restore.
#[derive(Clone, Debug)]
pub(crate) struct JobSettings {
    /// From where.
    pub(crate) backup: Backup,
    /// To where.
    pub(crate) target: Target,
    /// With what.
    pub(crate) resources: Resources,
}

impl Backup {
    /// Merges options and config file; `selection` and `records` are the command's matter.
    pub(crate) fn resolve(
        source: &SourceArguments,
        content: &ContentArguments,
        trouble: Option<&TroubleArguments>,
        file: &ConfigFile,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            storage: source::resolve(source, file)?,
            content: Content::resolve(content, trouble),
            selection: Selection::all(),
            records: RecordSelection::default(),
        })
    }

    /// Opens the store and reads the connector's configuration where one is named. No request is made to the
    /// store yet.
    pub(crate) async fn open(self, rejected: Option<Arc<dyn RejectSink>>) -> anyhow::Result<Source> {
        let mut connectors = Vec::new();
        for place in self.content.connector_configs() {
            connectors.push(connector::read(place).await?);
        }
        let known = connectors
            .iter()
            .map(ConnectorSettings::decoding)
            .reduce(common)
            .unwrap_or_default();
        Ok(Source {
            store: backup::storage::open(&self.storage)?,
            snapshots: keep::folder(self.storage.prefix.as_deref().unwrap_or_default()),
            layout: self.layouts(&connectors)?,
            decoding: self.content.decoding(known),
            on_conflict: self.content.on_conflict,
            on_bad_record: self.content.on_bad_record,
            latest_state: self.content.latest_state,
            selection: self.selection,
            records: self.records,
            rejected,
        })
    }

    /// Everything that one of the connectors' configurations says of names.
    fn layouts(&self, connectors: &[ConnectorSettings]) -> anyhow::Result<Layout> {
        let (first, others) = match connectors.split_first() {
            Some((first, others)) => (Some(first), others),
            None => (None, connectors),
        };
        let mut layout = self.layout(first)?;
        for connector in others {
            layout = layout.and(self.layout(Some(connector))?);
        }
        Ok(layout)
    }

    /// How objects are named: as the template says, or else the connector, or else by default. The prefix given
    /// for the storage wins over the connector's.
    fn layout(&self, connector: Option<&ConnectorSettings>) -> anyhow::Result<Layout> {
        let given = self.storage.prefix.as_deref().filter(|prefix| !prefix.is_empty());
        if let (None, Some(connector), None) = (self.content.template(), connector, given) {
            return Ok(connector.layout()?);
        }
        let prefix = given.unwrap_or_default();
        let template = match (
            self.content.template(),
            connector.map(|connector| &connector.naming),
        ) {
            (Some(template), _) | (None, Some(Naming::Template { template, .. })) => Some(template),
            _ => None,
        };
        Ok(match template {
            Some(template) => Layout::template(prefix, template),
            None => Layout::default_names(prefix),
        }
        .or_folder())
    }
}

/// What two configurations of a connector agree on; the rest is told from the objects.
fn common(one: Decoding, other: Decoding) -> Decoding {
    Decoding {
        format: one.format.filter(|_| one.format == other.format),
        fields: match one.fields == other.fields {
            true => one.fields,
            false => None,
        },
        key_as: one.key_as.filter(|_| one.key_as == other.key_as),
        value_as: one.value_as.filter(|_| one.value_as == other.value_as),
        header_as: one.header_as.filter(|_| one.header_as == other.header_as),
        one_record_per_object: one.one_record_per_object && other.one_record_per_object,
        ..one
    }
}

impl JobSettings {
    /// Merges options and config file, and refuses what cannot be meant.
    pub(crate) fn resolve(arguments: &JobArguments, file: &ConfigFile) -> anyhow::Result<Self> {
        let backup = Backup {
            selection: selection::chosen(&arguments.topics)?,
            records: selection::records(&arguments.window)?,
            ..Backup::resolve(
                &arguments.source,
                &arguments.content,
                Some(&arguments.trouble),
                file,
            )?
        };
        let config = target::resolve(&arguments.target, file)?;
        let (offsets, creation, safety) = (&arguments.offsets, &arguments.creation, &arguments.safety);
        let defaults = renamed_target(config, &arguments.rename, &offsets.mode)?;
        let configs = creation
            .topic_config
            .iter()
            .map(|setting| (setting.name.clone(), setting.value.clone()));
        let target = Target {
            exact_limit: offsets.exact_limit.unwrap_or(defaults.exact_limit),
            hidden_records: safety.hidden_records,
            append: safety.append,
            verify_existing: safety.verify_existing,
            verify: safety.verify,
            compression: arguments.compression.compression,
            topics: TopicWishes {
                create: creation.create.unwrap_or_default(),
                partitions: creation.partitions,
                replication_factor: creation.replication_factor,
                configs: configs.collect(),
                add_partitions: creation.add_partitions,
                keep_profile: creation.keep_profile,
                snapshot: None,
                config_from: (!creation.topic_config_from.is_empty()).then(|| ClientConfig {
                    bootstrap: creation.topic_config_from.clone(),
                    ..defaults.cluster.clone()
                }),
                journal: None,
            },
            ..defaults
        };
        Ok(Self {
            backup,
            target,
            resources: resources(&arguments.limits)?,
        })
    }

    /// The library's job; neither store nor cluster is asked yet.
    pub(crate) async fn open(self, rejected: Option<Arc<dyn RejectSink>>) -> anyhow::Result<Job> {
        Ok(Job {
            source: self.backup.open(rejected).await?,
            target: self.target,
            resources: self.resources,
        })
    }
}

/// The target by default, but for the names of its topics and the offsets in it.
pub(crate) fn renamed_target(
    cluster: ClientConfig,
    rename: &RenameArguments,
    mode: &ModeArguments,
) -> Result<Target, ConfigError> {
    let defaults = Target::new(cluster);
    Ok(Target {
        rename: selection::renames(rename)?
            .into_iter()
            .map(|rename| (rename.old, rename.new))
            .collect(),
        offsets: mode.offsets.unwrap_or(defaults.offsets),
        ..defaults
    })
}

/// What a run may use.
///
/// # Errors
///
/// Where a share is asked for and nobody says which one.
pub(crate) fn resources(arguments: &LimitArguments) -> anyhow::Result<Resources> {
    let index = arguments.job_completion_index.as_deref();
    let shard = arguments.shard.map(|shard| shard.resolve(index)).transpose();
    Ok(Resources {
        memory: usize::try_from(arguments.memory.as_u64()).unwrap_or(usize::MAX),
        jobs: arguments.jobs.map(usize::from),
        rate_limit: arguments.rate_limit.map(|rate| rate.as_u64()),
        shard: shard.map_err(|what| ConfigError::Contradiction {
            what,
            hint: "Each process of one restore takes another share: 0/N, 1/N and so on.".to_owned(),
        })?,
    })
}
