//! What a restore needs to be allowed, checked before anything is written. `docs/rights.md` has the whole list.

use kafka::admin::NewTopic;
use kafka::cluster::{Cluster, Operation};
use kafka::error::ResponseError;

use crate::error::RestoreError;
use crate::job::Job;
use crate::plan::{Finding, RestorePlan, Severity, TopicPlan};

/// Adds a finding to `plan` for each right that this user lacks, as the brokers tell it.
pub(crate) async fn check(job: &Job, cluster: &Cluster, plan: &mut RestorePlan) -> Result<(), RestoreError> {
    let targets: Vec<&str> = plan.topics.iter().map(|topic| topic.target.as_str()).collect();
    let metadata = cluster.topics(Some(&targets)).await?;
    let mut findings = Vec::new();
    for topic in &plan.topics {
        let about = metadata.iter().find(|found| found.name == topic.target);
        let mut add = |severity, message| findings.push(Finding { severity, message });
        let target = &topic.target;
        if topic.create.is_some()
            && let Some(reason) = creation_refused(cluster, topic).await
        {
            add(Severity::Error, format!("{target} cannot be created: {reason}"));
            continue;
        }
        let refused = about
            .and_then(|about| about.error.as_ref())
            .and_then(|error| error.code());
        if refused == Some(ResponseError::TopicAuthorizationFailed) {
            add(
                Severity::Error,
                format!("this user may not see {target}: grant Describe, Read and Write on the topic"),
            );
            continue;
        }
        let Some(rights) = about.and_then(|about| about.rights) else {
            continue;
        };
        let lacks = |operation| !rights.allow(operation);
        if lacks(Operation::Write) {
            add(
                Severity::Error,
                format!("this user may not write to {target}: grant Write on the topic"),
            );
        }
        if lacks(Operation::Read) {
            let holds_something = topic.partitions.iter().any(|partition| partition.target_end > 0);
            let (severity, consequence) = match holds_something || job.target.verify {
                true => (
                    Severity::Error,
                    "what stands there cannot be compared with the backup",
                ),
                false => (
                    Severity::Warning,
                    "an interrupted restore cannot be continued, and nothing can be verified",
                ),
            };
            add(
                severity,
                format!("this user may not read {target}, so {consequence}: grant Read on the topic"),
            );
        }
        if lacks(Operation::AlterConfigs) && (!topic.profile.is_empty() || topic.create.is_some()) {
            let names: Vec<&str> = topic.profile.iter().map(|change| change.name.as_str()).collect();
            let names = match names.is_empty() {
                true => "its retention and other limits".to_owned(),
                false => names.join(", "),
            };
            add(
                Severity::Warning,
                format!(
                    "this user may not change {names} of {target} for the time of the restore, which may cost records: \
                     grant AlterConfigs on the topic"
                ),
            );
        }
        if lacks(Operation::Delete) && topic.needs_fillers() {
            add(
                Severity::Warning,
                format!(
                    "this user may not delete records of {target}: what fills the offsets before its first record is \
                     left to retention, which takes up to 5 minutes more. Grant Delete on the topic to avoid that"
                ),
            );
        }
    }
    plan.findings.append(&mut findings);
    Ok(())
}

/// What the cluster says against creating a topic, without creating it.
async fn creation_refused(cluster: &Cluster, topic: &TopicPlan) -> Option<String> {
    let new = topic.create.as_ref()?;
    let new = NewTopic {
        name: topic.target.clone(),
        partitions: new.partitions,
        replication_factor: new.replication_factor.unwrap_or(-1),
        configs: new.configs.clone().into_iter().collect(),
    };
    let (_, outcome) = cluster.create_topics(&[new], true).await.pop()?;
    let error = outcome.err()?;
    match error.code() {
        Some(ResponseError::TopicAuthorizationFailed | ResponseError::ClusterAuthorizationFailed) => {
            Some(format!(
                "this user may not create it: grant Create on the topic {} or on the cluster",
                topic.target
            ))
        }
        // What comes from the way to the cluster shows itself when it is created.
        Some(ResponseError::TopicAlreadyExists) | None => None,
        Some(_) => Some(error.to_string()),
    }
}
