//! What the brokers can take at most: batches that were made before, sent through the program's own producer.

use std::path::Path;

use anyhow::{Result, anyhow};
use kafka::batch::{Compression, EncodedBatch};
use kafka::cluster::Cluster;
use kafka::config::ClientConfig;
use kafka::producer::{Producer, ProducerOptions};
use record::TopicPartition;

use crate::dataset::TOPIC;
use crate::floor::{BLOCK_BYTES, Encoder, Part, Watch};
use crate::read;

/// Makes all batches of a generated backup in memory, then sends them to [`TOPIC`], which is empty. Only the sending is
/// measured.
///
/// # Errors
///
/// Where the backup cannot be read or the brokers refuse.
pub fn run(folder: &Path, bootstrap: &str, codec: Compression) -> Result<Part> {
    let (partitions, records, bytes) = batches(folder, codec)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let cluster = Cluster::connect(ClientConfig::new(vec![bootstrap.parse()?])).await?;
        let identity = cluster.init_producer_id().await?;
        let options = ProducerOptions {
            identity: Some(identity),
            ..ProducerOptions::default()
        };
        let producer = Producer::new(cluster, options);
        let watch = Watch::start()?;
        let sending: Vec<_> = partitions
            .into_iter()
            .map(|(partition, batches)| {
                let mut into = producer.partition(TopicPartition::new(TOPIC, partition), 0, 0);
                tokio::spawn(async move {
                    for batch in batches {
                        into.append(batch).await?;
                    }
                    into.flush().await
                })
            })
            .collect();
        for task in sending {
            task.await??;
        }
        watch.stop(records, bytes)
    })
}

type Batches = Vec<(i32, Vec<EncodedBatch>)>;

fn batches(folder: &Path, codec: Compression) -> Result<(Batches, u64, u64)> {
    let mut partitions: Batches = Vec::new();
    let (mut records, mut bytes) = (0, 0);
    let mut encoder = Encoder::new(codec)?;
    for object in read::objects(folder)? {
        if partitions
            .last()
            .is_none_or(|(last, _)| *last != object.partition)
        {
            if let Some((_, batches)) = partitions.last_mut() {
                encoder.finish(|batch| batches.push(batch))?;
            }
            partitions.push((object.partition, Vec::new()));
        }
        let (_, batches) = partitions.last_mut().ok_or_else(|| anyhow!("no partition"))?;
        read::decode(&object, BLOCK_BYTES, |block| {
            records += block.len() as u64;
            bytes += block.payload_bytes() as u64;
            encoder.encode(block, |batch| batches.push(batch))
        })?;
    }
    if let Some((_, batches)) = partitions.last_mut() {
        encoder.finish(|batch| batches.push(batch))?;
    }
    Ok((partitions, records, bytes))
}
