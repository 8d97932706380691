//! Steps over offsets with empty transactions: each takes one offset in every partition that takes part in it.
//!
//! One task serves all partitions of a topic, so that they go together, with several transactional ids at once. An
//! offset too many cannot be undone, so nothing is begun after an unknown outcome until it is known: every id is
//! initialised again, which ends (and numbers) whatever it left open, and then the logs' ends say what is still missing.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use kafka::admin::{OffsetSpec, ProducerIdentity};
use kafka::cluster::Cluster;
use kafka::error::{KafkaError, ResponseError};
use record::TopicPartition;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::error::RestoreError;

/// Transactional ids at work at once: more help little, and each is one more name that the user needs a right for.
const IDS: usize = 16;
/// The most partitions of one transaction.
const PARTITIONS: usize = 100;
/// A transaction that this program leaves behind is ended by the brokers after this time. The same command run again
/// ends it at once.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The name of number `number` of the transactional ids for `topic`.
pub(crate) fn transactional_id(topic: &str, number: usize) -> String {
    format!("kafka-restore-{topic}-{number}")
}

/// See the module's documentation. Ends when it is dropped.
pub(crate) struct Transactions {
    requests: mpsc::UnboundedSender<Request>,
}

struct Request {
    partition: TopicPartition,
    from: i64,
    count: i64,
    done: oneshot::Sender<Result<(), String>>,
}

impl Transactions {
    /// Takes the transactional ids of `topic` over from whoever used them before.
    pub(crate) async fn start(cluster: &Cluster, topic: &str) -> Result<Self, RestoreError> {
        let mut members = Vec::with_capacity(IDS);
        for number in 0..IDS {
            let id = transactional_id(topic, number);
            let identity = cluster.init_transactional_producer(&id, TIMEOUT).await?;
            members.push(Member { id, identity });
        }
        let (requests, receiver) = mpsc::unbounded_channel();
        let worker = Worker {
            cluster: cluster.clone(),
            idle: members,
            open: Vec::new(),
            running: FuturesUnordered::new(),
            settling: FuturesUnordered::new(),
            in_doubt: false,
            is_taken_over: false,
        };
        tokio::spawn(worker.run(receiver));
        Ok(Self { requests })
    }

    /// Moves the end of `partition`, which is at `from` and confirmed, by `count` offsets.
    pub(crate) async fn advance(
        &self,
        partition: &TopicPartition,
        from: i64,
        count: i64,
    ) -> Result<(), RestoreError> {
        let (done, outcome) = oneshot::channel();
        let request = Request {
            partition: partition.clone(),
            from,
            count,
            done,
        };
        let failed = |reason: String| RestoreError::Transactions {
            partition: partition.clone(),
            first: from,
            reason,
        };
        let ended = || failed("the task behind them has ended".to_owned());
        self.requests.send(request).map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?.map_err(failed)
    }
}

struct Member {
    id: String,
    identity: ProducerIdentity,
}

/// A gap that is being closed.
struct Open {
    request: Request,
    /// Transactions that are still to be begun for it.
    left: i64,
    running: u32,
    settling: bool,
}

type Outcome = (Member, Vec<TopicPartition>, Result<(), KafkaError>);
type Settled = (TopicPartition, Result<(), String>);

struct Worker {
    cluster: Cluster,
    idle: Vec<Member>,
    open: Vec<Open>,
    running: FuturesUnordered<BoxFuture<'static, Outcome>>,
    settling: FuturesUnordered<BoxFuture<'static, Settled>>,
    /// A transaction ended without anybody knowing how.
    in_doubt: bool,
    /// Somebody else uses the same transactional ids; taking them back would only go on for ever.
    is_taken_over: bool,
}

impl Worker {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        loop {
            self.begin();
            self.settle();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.open.push(Open { left: request.count, request, running: 0, settling: false }),
                    None => return,
                },
                Some(outcome) = self.running.next() => self.ended(outcome),
                Some((partition, result)) = self.settling.next() => self.close(&partition, result),
            }
            if self.in_doubt
                && self.running.is_empty()
                && self.settling.is_empty()
                && let Err(reason) = self.dispel_doubt().await
            {
                for open in self.open.drain(..) {
                    let _ = open.request.done.send(Err(reason.clone()));
                }
            }
        }
    }

    /// Begins as many transactions as there are idle ids and work for them.
    fn begin(&mut self) {
        while !self.in_doubt && !self.idle.is_empty() {
            let mut partitions = Vec::new();
            for open in self.open.iter_mut().filter(|open| open.left > 0).take(PARTITIONS) {
                open.left -= 1;
                open.running += 1;
                partitions.push(open.request.partition.clone());
            }
            if partitions.is_empty() {
                return;
            }
            let Some(member) = self.idle.pop() else { return };
            let cluster = self.cluster.clone();
            self.running.push(Box::pin(async move {
                let result = cluster
                    .empty_transaction(&member.id, member.identity, &partitions)
                    .await;
                (member, partitions, result)
            }));
        }
    }

    fn ended(&mut self, (member, partitions, result): Outcome) {
        for open in &mut self.open {
            if partitions.contains(&open.request.partition) {
                open.running -= 1;
            }
        }
        self.idle.push(member);
        if let Err(error) = result {
            tracing::debug!(%error, "an empty transaction ended in doubt");
            self.in_doubt = true;
            self.is_taken_over |= matches!(
                error.code(),
                Some(ResponseError::ProducerFenced | ResponseError::InvalidProducerEpoch)
            );
        }
    }

    /// Waits for the markers of partitions whose transactions have all ended well.
    fn settle(&mut self) {
        if self.in_doubt {
            return;
        }
        for open in self
            .open
            .iter_mut()
            .filter(|open| open.left == 0 && open.running == 0 && !open.settling)
        {
            open.settling = true;
            let (cluster, partition) = (self.cluster.clone(), open.request.partition.clone());
            let end = open.request.from + open.request.count;
            self.settling.push(Box::pin(async move {
                let result = wait_for_end(&cluster, &partition, end).await;
                (partition, result)
            }));
        }
    }

    fn close(&mut self, partition: &TopicPartition, result: Result<(), String>) {
        if let Some(index) = self
            .open
            .iter()
            .position(|open| open.request.partition == *partition)
        {
            let open = self.open.swap_remove(index);
            let _ = open.request.done.send(result);
        }
    }

    /// Ends everything that may be open at the brokers, and counts what is still missing.
    async fn dispel_doubt(&mut self) -> Result<(), String> {
        if self.is_taken_over {
            return Err("another run of this program has taken the transactional ids over".to_owned());
        }
        for member in &mut self.idle {
            match self
                .cluster
                .init_transactional_producer(&member.id, TIMEOUT)
                .await
            {
                Ok(identity) => member.identity = identity,
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut finished = Vec::new();
        for open in &mut self.open {
            let partition = &open.request.partition;
            let end = log_end(&self.cluster, partition)
                .await
                .map_err(|error| error.to_string())?;
            open.left = open.request.from + open.request.count - end;
            open.settling = false;
            if open.left < 0 || end < open.request.from {
                finished.push((partition.clone(), Err(wrong_end(open.request.from, end))));
            }
        }
        for (partition, result) in finished {
            self.close(&partition, result);
        }
        self.in_doubt = false;
        Ok(())
    }
}

fn wrong_end(expected: i64, end: i64) -> String {
    format!(
        "the log ends at {end} where {expected} was expected: another program is writing to this partition"
    )
}

/// The log's end once its leader is sure of it.
async fn log_end(cluster: &Cluster, partition: &TopicPartition) -> Result<i64, KafkaError> {
    Ok(kafka::producer::settled_end(cluster, partition, None, None)
        .await?
        .offset)
}

/// Markers are written some milliseconds after a transaction's end.
async fn wait_for_end(cluster: &Cluster, partition: &TopicPartition, end: i64) -> Result<(), String> {
    let deadline = Instant::now() + cluster.config().api_timeout;
    let asked = [partition.clone()];
    let mut pause = Duration::from_millis(1);
    loop {
        let offset = match cluster.list_offsets(&asked, OffsetSpec::Latest).await.pop() {
            Some((_, offset)) => offset.map_err(|error| error.to_string())?,
            None => return Err("no answer about it".to_owned()),
        };
        match offset.cmp(&end) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Greater => return Err(wrong_end(end, offset)),
            std::cmp::Ordering::Less if Instant::now() > deadline => {
                return Err(format!(
                    "the markers did not arrive in time: the log ends at {offset} instead of {end}"
                ));
            }
            std::cmp::Ordering::Less => sleep(pause).await,
        }
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
