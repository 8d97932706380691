//! What the backup alone tells: its topics and partitions, from one listing.

use std::sync::Arc;
use std::time::Instant;

use backup::format::MissingTimestamp;
use backup::inventory::{self, Inventory, NO_PARTITION, NO_TOPIC, PartitionObjects, TopicInventory};
use backup::layout::Grouping;

use super::{Finding, PLAN_VERSION, PartitionPlan, RestorePlan, Severity, TopicPlan};
use crate::content;
use crate::error::RestoreError;
use crate::execute::source_context;
use crate::job::{Job, OffsetMode};
use crate::latest::{self, LatestRecords, LatestState};
use crate::progress::{Event, Phase, Progress};

/// Lists the backup: a plan that knows nothing of the target yet.
pub(crate) async fn list_topics(job: &Job, progress: &dyn Progress) -> Result<RestorePlan, RestoreError> {
    let source = &job.source;
    progress.report(&Event::Phase {
        phase: Phase::List,
        subject: source.store.location().to_owned(),
    });
    let started = Instant::now();
    let on_page = |listing: inventory::ListingProgress| {
        progress.report(&Event::Listing {
            objects: listing.listed.objects,
            matched: listing.taken,
        });
    };
    let inventory =
        inventory::take(source.store.as_ref(), &source.layout, &source.selection, on_page).await?;
    let listing = started.elapsed();
    inventory.check_ambiguity()?;
    let context = source_context(source, &job.resources)?;
    let mut topics = Vec::with_capacity(inventory.topics.len());
    let contents = content::resolve_all(source, &context, inventory.topics.values()).await?;
    for ((name, found), content) in inventory.topics.iter().zip(contents) {
        topics.push(TopicPlan {
            source: name.to_string(),
            target: job.target.topic_for(name).to_owned(),
            content,
            create: None,
            add_partitions: None,
            profile: Vec::new(),
            exact: job.target.offsets == OffsetMode::Exact,
            offsets_reason: "as asked".to_owned(),
            latest: (source.latest_state && latest::is_latest(found)).then(LatestState::default),
            gaps: None,
            cost_basis: None,
            partitions: found
                .partitions
                .iter()
                .map(|(partition, objects)| partition_plan(*partition, objects))
                .collect(),
        });
    }
    let mut findings = findings(job, &inventory);
    let unsaid = source.decoding.missing_timestamp == MissingTimestamp::None;
    for topic in topics
        .iter()
        .filter(|topic| topic.content.lacks_timestamps && unsaid)
    {
        findings.push(Finding {
            severity: Severity::Warning,
            message: format!(
                "the records of {} have no timestamps in the backup, and none are made up: consumers will see none, and \
                 retention by time cannot tell their age; say --timestamps object (when their object was stored) or \
                 --timestamps now to give them some",
                topic.source
            ),
        });
    }
    let names: Vec<&str> = source
        .layout
        .generations()
        .iter()
        .map(|names| names.description())
        .collect();
    Ok(RestorePlan {
        version: PLAN_VERSION,
        source: source.store.location().to_owned(),
        layout: names.join("; "),
        topics,
        unmatched_objects: inventory.unmatched.tally.objects,
        unmatched_samples: inventory.unmatched.samples.clone(),
        findings,
        listing,
        inventory: Arc::new(inventory),
        latest: LatestRecords::default(),
    })
}

/// What the listing alone tells a person.
fn findings(job: &Job, inventory: &Inventory) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |severity, message| findings.push(Finding { severity, message });
    let named_by_keys = "objects are named by record keys: each holds only the latest record of its key, not the topic's \
                         history";
    if inventory.has_latest_state() && !job.source.latest_state {
        find(
            Severity::Error,
            format!("{named_by_keys}; say --latest-state to restore them as that"),
        );
    }
    let latest = |topic: &&TopicInventory| topic.groupings.contains(&Grouping::LatestState);
    if job.source.latest_state
        && inventory
            .topics
            .values()
            .filter(latest)
            .any(|topic| !latest::is_latest(topic))
    {
        find(
            Severity::Warning,
            format!("{named_by_keys}; they are restored as that, in the order of their offsets"),
        );
    }
    for (name, topic) in &inventory.topics {
        let objects = topic.objects();
        let is_latest = latest::is_latest(topic);
        if topic.partitions.contains_key(&NO_PARTITION) && !is_latest {
            find(
                Severity::Error,
                format!(
                    "the names of some of the {objects} objects of {name:?} say no partition, and others do, so that nobody \
                     knows where their records belong; give one template (--template), or print the records with \
                     kafka-restore cat and produce them with a client that chooses partitions by key"
                ),
            );
        }
        if **name == *NO_TOPIC {
            find(
                Severity::Error,
                format!(
                    "the names of {objects} objects say no topic; name the one topic that they are of with --topic, or give \
                     the connector's configuration (--connector-config)"
                ),
            );
        }
        let records = &job.source.records;
        if is_latest && (records.from_offset, records.to_offset) != (None, None) {
            find(
                Severity::Error,
                format!(
                    "{name}: names that say no partition leave nothing that --from-offset and --to-offset could mean; \
                     --from-time and --to-time choose by timestamp"
                ),
            );
        }
        if is_latest && job.target.offsets == OffsetMode::Exact {
            find(
                Severity::Error,
                format!(
                    "{name}: the latest record of each key cannot get its original offset, since nobody knows which \
                     partition it was in; leave --offsets exact out"
                ),
            );
        }
    }
    findings
}

fn partition_plan(partition: i32, objects: &PartitionObjects) -> PartitionPlan {
    let last = objects.len().checked_sub(1);
    PartitionPlan {
        objects: objects.len() as u64,
        stored_bytes: objects.bytes(),
        first_start_offset: last.and_then(|_| objects.start_offset(0)),
        last_start_offset: last.and_then(|last| objects.start_offset(last)),
        ..PartitionPlan::empty(partition)
    }
}
