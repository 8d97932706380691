//! Where the logs of the target begin and end.

use std::collections::BTreeMap;

use kafka::admin::OffsetSpec;
use kafka::cluster::Cluster;
use record::TopicPartition;

use crate::error::RestoreError;

/// Log start and log end of each of `partitions`, which are of one topic, by number.
pub(crate) async fn ranges(
    cluster: &Cluster,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<i32, (i64, i64)>, RestoreError> {
    let starts = cluster.list_offsets(partitions, OffsetSpec::Earliest).await;
    let ends = cluster.list_offsets(partitions, OffsetSpec::Latest).await;
    starts
        .into_iter()
        .zip(ends)
        .map(|((partition, start), (_, end))| Ok((partition.partition, (start?, end?))))
        .collect()
}

/// Log start and log end of one partition.
pub(crate) async fn range(cluster: &Cluster, partition: &TopicPartition) -> Result<(i64, i64), RestoreError> {
    let ranges = ranges(cluster, std::slice::from_ref(partition)).await?;
    ranges
        .into_values()
        .next()
        .ok_or_else(|| RestoreError::Internal(format!("no answer about {partition}")))
}
