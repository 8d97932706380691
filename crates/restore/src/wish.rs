//! What a topic should be like: as a person says, as a snapshot has it, as another cluster has it, in this order.
//!
//! The backup itself only shows the highest partition that had a record. What is known from elsewhere makes a new
//! topic, and is held against one that exists.

use std::collections::BTreeMap;

use backup::inventory::Inventory;
use kafka::admin::{ConfigResource, ConfigSource};
use kafka::cluster::Cluster;

use crate::error::RestoreError;
use crate::job::{Job, TopicWishes};
use crate::plan::{Finding, NewTopic, Severity};
use crate::profile::Configs;
use crate::snapshot::{Snapshot, TopicSnapshot, keep};

/// What a topic was like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownTopic {
    /// Who says so.
    pub(crate) from: String,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: i16,
    pub(crate) configs: BTreeMap<String, String>,
    /// Log start and log end of each partition when a snapshot was taken.
    pub(crate) logs: Vec<Option<(i64, i64)>>,
}

/// Settings that say which replicas something is about: they mean nothing on another cluster, or at another time.
const BOUND: [&str; 2] = [
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
];

/// What is known of topics, by their names in the backup.
pub(crate) async fn known(
    job: &Job,
    inventory: &Inventory,
    findings: &mut Vec<Finding>,
) -> Result<BTreeMap<String, KnownTopic>, RestoreError> {
    let wishes = &job.target.topics;
    let mut known = BTreeMap::new();
    if let Some(config) = &wishes.config_from {
        let cluster = Cluster::connect(config.clone()).await?;
        from_cluster(&cluster, inventory, &mut known).await?;
    }
    match &wishes.snapshot {
        Some((place, snapshot)) => from_snapshot(job, place, snapshot, inventory, findings, &mut known),
        None => match keep::newest_before(&job.source.store, &job.source.snapshots, end(inventory)).await {
            Ok(Some((place, snapshot))) => {
                from_snapshot(job, &place, &snapshot, inventory, findings, &mut known);
            }
            Ok(None) => {}
            // Whoever may read a prefix of the bucket only can do without a snapshot.
            Err(keep::KeepError::Storage(error)) => tracing::info!(%error, "snapshots are not looked for"),
            Err(error) => findings.push(Finding {
                severity: Severity::Warning,
                message: format!("the snapshot in the bucket is not used: {error}"),
            }),
        },
    }
    Ok(known)
}

/// When the last object of the backup was written, milliseconds since 1970.
pub(crate) fn end(inventory: &Inventory) -> i64 {
    let partitions = inventory
        .topics
        .values()
        .flat_map(|topic| topic.partitions.values());
    partitions
        .flat_map(|objects| (0..objects.len()).map(|index| objects.last_modified(index)))
        .max()
        .unwrap_or(i64::MAX)
}

fn from_snapshot(
    job: &Job,
    place: &str,
    snapshot: &Snapshot,
    inventory: &Inventory,
    findings: &mut Vec<Finding>,
    known: &mut BTreeMap<String, KnownTopic>,
) {
    for name in inventory.topics.keys() {
        if let Some(topic) = snapshot.topic(name) {
            let topic = KnownTopic {
                from: format!("the snapshot of {}", snapshot.taken),
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                replication_factor: topic.replication_factor,
                configs: topic.configs.clone(),
                logs: topic.partitions.clone(),
            };
            known.insert(name.to_string(), topic);
        }
    }
    findings.push(Finding {
        severity: Severity::Note,
        message: format!(
            "topics are compared with the snapshot of {} ({place})",
            snapshot.taken
        ),
    });
    let had_records =
        |topic: &&TopicSnapshot| topic.partitions.iter().flatten().any(|(start, end)| start < end);
    let absent: Vec<&str> = snapshot
        .topics
        .iter()
        .filter(had_records)
        .map(|topic| topic.name.as_str())
        .filter(|name| job.source.selection.has_topic(name) && !inventory.topics.contains_key(*name))
        .collect();
    if !absent.is_empty() {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "topics that had records when the snapshot of {} was taken, and of which the backup has none: {}",
                snapshot.taken,
                absent.join(", ")
            ),
        });
    }
}

async fn from_cluster(
    cluster: &Cluster,
    inventory: &Inventory,
    known: &mut BTreeMap<String, KnownTopic>,
) -> Result<(), RestoreError> {
    let addresses: Vec<String> = cluster
        .config()
        .bootstrap
        .iter()
        .map(ToString::to_string)
        .collect();
    let there = cluster.topics(None).await?;
    for name in inventory.topics.keys() {
        let Some(topic) = there
            .iter()
            .find(|topic| *topic.name == **name && topic.error.is_none())
        else {
            continue;
        };
        let mut configs = BTreeMap::new();
        let resource = ConfigResource::Topic(name.to_string());
        for (_, entries) in cluster.describe_configs(&[resource], None).await {
            let own = entries?
                .into_iter()
                .filter(|entry| entry.source == ConfigSource::Topic);
            configs.extend(own.filter_map(|entry| Some((entry.name, entry.value?))));
        }
        let replicas = topic.partitions.first().map_or(1, |first| first.replicas.len());
        let topic = KnownTopic {
            from: format!("the topic at {}", addresses.join(",")),
            partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
            configs,
            // Another cluster's log ends say nothing about this backup.
            logs: Vec::new(),
        };
        known.insert(name.to_string(), topic);
    }
    Ok(())
}

/// The topic to create: `needed` partitions at least, on a cluster of so many brokers.
pub(crate) fn creation(
    wishes: &TopicWishes,
    target: &str,
    known: Option<&KnownTopic>,
    needed: i32,
    brokers: usize,
    findings: &mut Vec<Finding>,
) -> NewTopic {
    let mut find = |severity: Severity, message: String| findings.push(Finding { severity, message });
    let partitions = match (wishes.partitions, known) {
        (Some(partitions), _) if partitions < needed => {
            find(
                Severity::Error,
                format!(
                    "{target} needs at least {needed} partitions for this backup; --partitions asks for {partitions}"
                ),
            );
            partitions
        }
        (Some(partitions), _) => partitions,
        (None, Some(known)) if known.partitions >= needed => known.partitions,
        (None, Some(known)) => {
            find(
                Severity::Warning,
                format!(
                    "{target} will be created with {needed} partitions, the highest one that the backup shows; {} has {}, \
                     so it is older than the last partitions",
                    known.from, known.partitions
                ),
            );
            needed
        }
        (None, None) => {
            find(
                Severity::Warning,
                format!(
                    "{target} will be created with {needed} partitions, the highest one that the backup shows; partitions \
                     without records leave no objects, so the original may have had more: say --partitions where you know"
                ),
            );
            needed
        }
    };
    let wanted = wishes.replication_factor.or(known
        .map(|known| known.replication_factor)
        .filter(|factor| *factor > 0));
    let most = i16::try_from(brokers).unwrap_or(i16::MAX);
    let replication_factor = match wanted {
        Some(factor) if wishes.replication_factor.is_none() && factor > most => {
            find(
                Severity::Warning,
                format!(
                    "{target} had {factor} replicas, and this cluster has {most} brokers: it gets {most}"
                ),
            );
            Some(most)
        }
        wanted => wanted,
    };
    let mut configs = BTreeMap::new();
    for (name, value) in known.iter().flat_map(|known| &known.configs) {
        match BOUND.contains(&name.as_str()) || name.starts_with("confluent.") {
            true => find(
                Severity::Note,
                format!("{target} is created without {name}, which belongs to the cluster that it came from"),
            ),
            false => {
                configs.insert(name.clone(), value.clone());
            }
        }
    }
    configs.extend(wishes.configs.clone());
    NewTopic {
        partitions,
        replication_factor,
        configs,
    }
}

/// What is different about a topic that exists, in full sentences. `originals` is what an unfinished restore has changed.
pub(crate) fn differences(
    wishes: &TopicWishes,
    target: &str,
    known: Option<&KnownTopic>,
    partitions: i32,
    configs: &Configs,
    originals: &BTreeMap<String, Option<String>>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut warn = |message: String| {
        findings.push(Finding {
            severity: Severity::Warning,
            message,
        });
    };
    let (wanted, who) = match (wishes.partitions, known) {
        (Some(wanted), _) => (Some(wanted), "--partitions".to_owned()),
        (None, Some(known)) => (Some(known.partitions), known.from.clone()),
        (None, None) => (None, String::new()),
    };
    if let Some(wanted) = wanted.filter(|wanted| *wanted != partitions) {
        warn(format!(
            "{target} has {partitions} partitions, and {who} says {wanted}: producers put keys elsewhere than before"
        ));
    }
    // None: the brokers' default.
    let own = |name: &str| match originals.get(name) {
        Some(original) => original.clone(),
        None => configs
            .get(name)
            .filter(|config| config.own)
            .map(|config| config.value.clone()),
    };
    let inherited = |name: &str| {
        let config = configs.get(name).filter(|config| !config.own)?;
        Some(config.value.clone())
    };
    let said = wishes
        .configs
        .iter()
        .map(|(name, value)| (name, value, "--topic-config"));
    let known_configs = known.iter().flat_map(|known| {
        let configs = known
            .configs
            .iter()
            .filter(|(name, _)| !wishes.configs.contains_key(*name));
        configs.map(|(name, value)| (name, value, known.from.as_str()))
    });
    for (name, value, who) in said.chain(known_configs) {
        let now = own(name);
        if now.as_ref() == Some(value) || now.is_none() && inherited(name).as_ref() == Some(value) {
            continue;
        }
        if BOUND.contains(&name.as_str()) || name.starts_with("confluent.") {
            continue;
        }
        let now = now.map_or_else(
            || match inherited(name) {
                Some(value) => format!("the default {value}"),
                None => "the default".to_owned(),
            },
            |now| now.clone(),
        );
        warn(format!(
            "{target} has {name}={now}, and {who} says {value}; the restore does not change it"
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ConfigValue;

    fn known() -> KnownTopic {
        KnownTopic {
            from: "the snapshot of yesterday".to_owned(),
            partitions: 6,
            replication_factor: 3,
            configs: [
                ("cleanup.policy", "compact"),
                ("retention.ms", "5"),
                (BOUND[0], "0:1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            logs: vec![None; 6],
        }
    }

    #[test]
    fn flags_come_before_what_is_known() {
        let mut findings = Vec::new();
        let wishes = TopicWishes {
            configs: [("retention.ms".to_owned(), "7".to_owned())].into(),
            ..TopicWishes::default()
        };
        let new = creation(&wishes, "orders", Some(&known()), 4, 1, &mut findings);
        assert_eq!((new.partitions, new.replication_factor), (6, Some(1)));
        let configs: Vec<_> = new
            .configs
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(configs, ["cleanup.policy=compact", "retention.ms=7"]);
        // Fewer replicas, and a setting left out.
        assert_eq!(findings.len(), 2, "{findings:?}");

        let wishes = TopicWishes {
            partitions: Some(12),
            replication_factor: Some(2),
            ..TopicWishes::default()
        };
        let new = creation(&wishes, "orders", Some(&known()), 4, 1, &mut Vec::new());
        assert_eq!((new.partitions, new.replication_factor), (12, Some(2)));

        let mut findings = Vec::new();
        let new = creation(&TopicWishes::default(), "orders", None, 4, 1, &mut findings);
        assert_eq!((new.partitions, new.replication_factor), (4, None));
        assert!(findings[0].message.contains("--partitions"), "{findings:?}");
        let too_few = TopicWishes {
            partitions: Some(3),
            ..TopicWishes::default()
        };
        let mut findings = Vec::new();
        creation(&too_few, "orders", None, 4, 1, &mut findings);
        assert_eq!(findings[0].severity, Severity::Error);
    }

    #[test]
    fn an_existing_topic_is_held_against_the_wish() {
        let value = |value: &str, own: bool| ConfigValue {
            value: value.to_owned(),
            own,
        };
        let configs = Configs::from([
            ("cleanup.policy".to_owned(), value("compact", false)),
            ("retention.ms".to_owned(), value("-1", true)),
        ]);
        let changed = BTreeMap::from([("retention.ms".to_owned(), Some("5".to_owned()))]);
        let wishes = TopicWishes::default();
        // What an unfinished restore has changed is no difference.
        assert_eq!(
            differences(&wishes, "t", Some(&known()), 6, &configs, &changed),
            []
        );
        let found = differences(&wishes, "t", Some(&known()), 5, &configs, &BTreeMap::new());
        let messages: Vec<_> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].contains("has 5 partitions, and the snapshot of yesterday says 6"));
        assert!(messages[1].starts_with("t has retention.ms=-1, and the snapshot of yesterday says 5"));
        assert_eq!(differences(&wishes, "t", None, 5, &configs, &BTreeMap::new()), []);
    }
}
