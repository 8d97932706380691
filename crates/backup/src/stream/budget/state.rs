//! The rules of the budget, as one plain structure behind a lock.
//!
//! All memory in use is of one of these kinds: what partitions live on, the records handed out to their users
//! included (`needed`: at least the reserves); what objects read ahead have borrowed; and what is held beside.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

/// A merge of up to so many objects may borrow as a single head may; beyond, members keep to their share.
const MEMBERS_THAT_BORROW: usize = 8;

/// What may be borrowed at first, for each thread that decodes: one partition alone can keep all of them busy, each with
/// an object of its own, of which only the first hands its records on. With answers within 20 ms one thread's part is enough
/// for more than 1.5 GB/s. Reading further ahead would only take memory, which costs time too: the system has to clear it,
/// and what lies in it has left the processor's caches before it is used.
const LOANS_PER_THREAD: usize = 32 << 20;

#[derive(Debug)]
struct Partition {
    base: usize,
    reserve: usize,
    used: usize,
    /// Records that the consumer has.
    handed_out: usize,
    members: usize,
}

impl Partition {
    /// What counts against the budget: the reserve is set aside also where it is not used.
    fn needed(&self) -> usize {
        self.reserve.max(self.used + self.handed_out)
    }
}

#[derive(Debug)]
struct Source {
    partition: u64,
    head: bool,
    used: usize,
    /// Decoded blocks that wait for the consumer.
    queued: usize,
}

#[derive(Debug)]
struct Waiter {
    source: u64,
    bytes: usize,
    sender: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Grower {
    partition: u64,
    reserve: usize,
    sender: oneshot::Sender<()>,
}

#[derive(Debug)]
pub(super) struct State {
    total: usize,
    /// What may be borrowed at most, now.
    lendable: usize,
    partitions: HashMap<u64, Partition>,
    sources: HashMap<u64, Source>,
    next_id: u64,
    /// Sums over partitions, kept up to date.
    needed: usize,
    reserves: usize,
    bases: usize,
    in_use: usize,
    borrowed: usize,
    handed_out: usize,
    held: usize,
    high_water: usize,
    /// By the age of the objects: the one that was opened first is needed first.
    waiters: VecDeque<Waiter>,
    growers: VecDeque<Grower>,
    /// The one partition whose reserve is larger than its base.
    grown: Option<u64>,
}

impl State {
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            lendable: LOANS_PER_THREAD.min(total / 2),
            partitions: HashMap::new(),
            sources: HashMap::new(),
            next_id: 0,
            needed: 0,
            reserves: 0,
            bases: 0,
            in_use: 0,
            borrowed: 0,
            handed_out: 0,
            held: 0,
            high_water: 0,
            waiters: VecDeque::new(),
            growers: VecDeque::new(),
            grown: None,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.in_use + self.borrowed + self.handed_out + self.held
    }

    /// Lets as much be borrowed as so many threads need, up to half of everything.
    pub(super) fn lend_to_threads(&mut self, threads: usize) {
        let wanted = LOANS_PER_THREAD.saturating_mul(threads);
        self.lendable = self.lendable.max(wanted.min(self.total / 2));
    }

    /// Lets twice as much be borrowed as before, up to half of everything.
    pub(super) fn lend_more(&mut self) {
        self.lendable = (2 * self.lendable).min(self.total / 2);
    }

    pub(super) fn high_water(&self) -> usize {
        self.high_water
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn add_partition(&mut self, reserve: usize) -> u64 {
        let id = self.new_id();
        self.partitions.insert(
            id,
            Partition {
                base: reserve,
                reserve,
                used: 0,
                handed_out: 0,
                members: 1,
            },
        );
        self.needed += reserve;
        self.reserves += reserve;
        self.bases += reserve;
        id
    }

    pub(super) fn remove_partition(&mut self, id: u64) {
        if let Some(partition) = self.partitions.remove(&id) {
            self.needed -= partition.needed();
            self.reserves -= partition.reserve;
            self.bases -= partition.base;
            self.in_use -= partition.used;
            self.handed_out -= partition.handed_out;
        }
        if self.grown == Some(id) {
            self.grown = None;
        }
        self.growers.retain(|grower| grower.partition != id);
    }

    pub(super) fn add_source(&mut self, partition: u64) -> u64 {
        let id = self.new_id();
        self.sources.insert(
            id,
            Source {
                partition,
                head: false,
                used: 0,
                queued: 0,
            },
        );
        id
    }

    pub(super) fn remove_source(&mut self, id: u64) {
        self.waiters.retain(|waiter| waiter.source != id);
        if let Some(used) = self.sources.get(&id).map(|source| source.used) {
            self.give_back(id, used);
            self.sources.remove(&id);
        }
    }

    pub(super) fn set_members(&mut self, partition: u64, members: usize, base: usize) {
        self.change_partition(partition, |partition| {
            partition.members = members.max(1);
            if members <= 1 {
                partition.reserve = base;
            }
        });
        if members <= 1 && self.grown == Some(partition) {
            self.grown = None;
        }
    }

    pub(super) fn reserve_of(&self, partition: u64) -> usize {
        self.partitions
            .get(&partition)
            .map_or(0, |partition| partition.reserve)
    }

    /// The largest reserve that the partition could ever get beside the others' bases.
    pub(super) fn largest_reserve(&self, partition: u64) -> usize {
        let base = self
            .partitions
            .get(&partition)
            .map_or(0, |partition| partition.base);
        self.total.saturating_sub(self.bases - base)
    }

    pub(super) fn ask_growth(&mut self, partition: u64, reserve: usize, sender: oneshot::Sender<()>) {
        self.growers.push_back(Grower {
            partition,
            reserve,
            sender,
        });
    }

    pub(super) fn share(&self, source: u64) -> usize {
        self.sources
            .get(&source)
            .and_then(|source| {
                let partition = self.partitions.get(&source.partition)?;
                Some(if source.head {
                    partition.reserve / partition.members
                } else {
                    partition.base
                })
            })
            .unwrap_or(0)
    }

    pub(super) fn promote(&mut self, source: u64) {
        let Some(source) = self.sources.get_mut(&source) else {
            return;
        };
        if std::mem::replace(&mut source.head, true) {
            return;
        }
        let (used, partition) = (source.used, source.partition);
        self.borrowed -= used;
        self.in_use += used;
        self.change_partition(partition, |partition| partition.used += used);
    }

    pub(super) fn queued(&mut self, source: u64) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.queued += 1;
        }
    }

    pub(super) fn unqueued(&mut self, source: u64) {
        if let Some(source) = self.sources.get_mut(&source) {
            source.queued -= 1;
        }
    }

    /// Takes `bytes` only where nothing speaks against it. Of the reserve, half is left for what must follow.
    pub(super) fn try_take(&mut self, source: u64, bytes: usize) -> bool {
        self.take_within(source, bytes, 2)
    }

    fn take_within(&mut self, source: u64, bytes: usize, part: usize) -> bool {
        let fits = self.lives_on_reserve(source, bytes, part)
            || (self.waiters.is_empty() && self.may_borrow(source, bytes));
        if fits {
            self.force(source, bytes);
        }
        fits
    }

    /// Takes `bytes` also for an object that has nothing else to go on with and that others wait for.
    pub(super) fn take_at_once(&mut self, source: u64, bytes: usize) -> bool {
        if self.is_starving(source) {
            self.force(source, bytes);
            return true;
        }
        self.take_within(source, bytes, 1)
    }

    pub(super) fn wait(&mut self, source: u64, bytes: usize, sender: oneshot::Sender<()>) {
        let place = self.waiters.partition_point(|waiter| waiter.source <= source);
        let waiter = Waiter {
            source,
            bytes,
            sender,
        };
        self.waiters.insert(place, waiter);
    }

    pub(super) fn force(&mut self, source: u64, bytes: usize) {
        let Some(entry) = self.sources.get_mut(&source) else {
            return;
        };
        entry.used += bytes;
        if entry.head {
            let partition = entry.partition;
            self.in_use += bytes;
            self.change_partition(partition, |partition| partition.used += bytes);
        } else {
            self.borrowed += bytes;
        }
        self.mark();
    }

    pub(super) fn give_back(&mut self, source: u64, bytes: usize) {
        let Some(entry) = self.sources.get_mut(&source) else {
            return;
        };
        entry.used -= bytes;
        if entry.head {
            let partition = entry.partition;
            self.in_use -= bytes;
            self.change_partition(partition, |partition| partition.used -= bytes);
        } else {
            self.borrowed -= bytes;
        }
    }

    pub(super) fn hand_out(&mut self, partition: u64, bytes: usize) {
        self.handed_out += bytes;
        self.change_partition(partition, |partition| partition.handed_out += bytes);
        self.mark();
    }

    pub(super) fn take_in(&mut self, partition: u64, bytes: usize) {
        self.handed_out -= bytes;
        self.change_partition(partition, |partition| partition.handed_out -= bytes);
    }

    pub(super) fn hold(&mut self, bytes: usize) {
        self.held += bytes;
        self.mark();
    }

    pub(super) fn let_go(&mut self, bytes: usize) {
        self.held -= bytes;
    }

    /// Lets go on whoever can: first the one that grows, then the others, the oldest object first.
    pub(super) fn wake(&mut self) {
        self.growers.retain(|grower| !grower.sender.is_closed());
        // The one that has grown already goes first: the others wait for its end.
        let grown = self.grown;
        while let Some(place) = self
            .growers
            .iter()
            .position(|grower| grown.is_none_or(|grown| grown == grower.partition))
        {
            let (partition, reserve) = (self.growers[place].partition, self.growers[place].reserve);
            if !self.may_grow(partition, reserve) {
                break;
            }
            if let Some(grower) = self.growers.remove(place)
                && grower.sender.send(()).is_ok()
            {
                self.grown = Some(partition);
                self.change_partition(partition, |entry| entry.reserve = reserve);
            }
        }
        // Borrowers keep their order among themselves; the others do not wait behind them.
        let mut borrowers_wait = false;
        for _ in 0..self.waiters.len() {
            let Some(waiter) = self.waiters.pop_front() else {
                break;
            };
            if waiter.sender.is_closed() {
                continue;
            }
            let (source, bytes) = (waiter.source, waiter.bytes);
            // There may be thousands: behind a borrower that has to wait, only heads are looked at closer.
            let looked_at = !borrowers_wait || self.is_head(source);
            let granted = looked_at
                && (self.is_starving(source)
                    || self.lives_on_reserve(source, bytes, 1)
                    || (!borrowers_wait && self.may_borrow(source, bytes)));
            if !granted {
                borrowers_wait = true;
                self.waiters.push_back(waiter);
            } else if waiter.sender.send(()).is_ok() {
                self.force(source, bytes);
            }
        }
    }

    fn is_head(&self, source: u64) -> bool {
        self.sources.get(&source).is_some_and(|source| source.head)
    }

    /// True for an object that the consumer waits for and that has nothing to give.
    fn is_starving(&self, source: u64) -> bool {
        self.sources
            .get(&source)
            .is_some_and(|source| source.head && source.queued == 0)
    }

    /// True where `bytes` more are within one `part`-th of the object's share of the reserve.
    fn lives_on_reserve(&self, source: u64, bytes: usize, part: usize) -> bool {
        self.sources.get(&source).is_some_and(|source| {
            source.head
                && self.partitions.get(&source.partition).is_some_and(|partition| {
                    let shared = partition.reserve.saturating_sub(partition.handed_out);
                    source.used + bytes <= shared / partition.members / part
                })
        })
    }

    fn may_borrow(&self, source: u64, bytes: usize) -> bool {
        let members_borrow = self.sources.get(&source).is_some_and(|source| {
            !source.head
                || self
                    .partitions
                    .get(&source.partition)
                    .is_some_and(|partition| partition.members <= MEMBERS_THAT_BORROW)
        });
        let beyond_reserves = self.borrowed + self.needed - self.reserves;
        members_borrow
            && self.growers.is_empty()
            && beyond_reserves + bytes <= self.lendable
            && self.needed + self.borrowed + self.held + bytes <= self.total
    }

    fn may_grow(&self, partition: u64, reserve: usize) -> bool {
        let Some(entry) = self.partitions.get(&partition) else {
            return true;
        };
        // What was handed out does not count: its user may wait for this very partition.
        self.grown.is_none_or(|grown| grown == partition)
            && self.needed - entry.needed() + reserve.max(entry.used) + self.borrowed <= self.total
    }

    fn change_partition(&mut self, id: u64, change: impl FnOnce(&mut Partition)) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            self.needed -= partition.needed();
            self.reserves -= partition.reserve;
            change(partition);
            self.needed += partition.needed();
            self.reserves += partition.reserve;
        }
    }

    fn mark(&mut self) {
        self.high_water = self.high_water.max(self.used());
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
