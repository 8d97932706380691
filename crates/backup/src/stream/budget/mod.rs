//! One byte budget for everything in flight, whatever the number and size of objects and partitions.
//!
//! Who can wait for whom decides about deadlocks, so there are two ways to get memory:
//! - Each partition has a *reserve* from the moment it is read until its end. The object at the head of the
//!   partition (or all objects of a merge together) lives on it and never waits for another partition. Where
//!   it has nothing left to hand out it gets what it asks for even beyond the reserve: one huge record costs
//!   memory, never a standstill.
//! - Objects that are read ahead *borrow* from a shared half, those first that were opened first. They may wait for as
//!   long as it takes, since nobody waits for them; an object that becomes the head stops waiting. How much of that
//!   half is lent depends on the number of threads, and grows only as far as slow answers of the store ask for it.
//!
//! A merge of more objects than fit into the reserve lets it grow: one partition at
//! a time, after borrowers have given back. `state` holds the rules, free of any waiting.

mod state;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use state::State;

/// The default budget: 256 MiB.
pub const DEFAULT_MEMORY: usize = 256 << 20;

/// The smallest budget that works at all; smaller ones are taken for this.
pub const LEAST_MEMORY: usize = 4 << 20;

/// The memory of one run: bytes that may be in flight between the store and the brokers. Cheap to clone.
#[derive(Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

struct Shared {
    total: usize,
    reserve: usize,
    state: Mutex<State>,
}

impl MemoryBudget {
    /// A budget of `bytes`, at least [`LEAST_MEMORY`].
    pub fn new(bytes: usize) -> Self {
        let total = bytes.max(LEAST_MEMORY);
        Self {
            shared: Arc::new(Shared {
                total,
                reserve: (total / 64).min(16 << 20),
                state: Mutex::new(State::new(total)),
            }),
        }
    }

    /// The budget in bytes.
    pub fn total(&self) -> usize {
        self.shared.total
    }

    /// Bytes in use now: fetched, decoded, and handed out and not dropped yet.
    pub fn used(&self) -> usize {
        self.shared.lock().used()
    }

    /// The most bytes that were ever in use at once.
    pub fn high_water(&self) -> usize {
        self.shared.lock().high_water()
    }

    /// How many partitions may be read at the same time. With more the budget does not hold.
    pub fn partitions_at_once(&self) -> usize {
        self.shared.total / 2 / self.shared.reserve
    }

    /// How many partitions are being read now.
    pub fn partitions_now(&self) -> usize {
        self.shared.lock().partitions()
    }

    /// Bytes that a partition can count on, whatever others do.
    pub fn reserve(&self) -> usize {
        self.shared.reserve
    }

    /// So many threads decode: each may be busy with an object that is read ahead.
    pub(super) fn lend_to_threads(&self, threads: usize) {
        self.shared.change(|state| state.lend_to_threads(threads));
    }

    /// A stream had to wait for the store although objects are read ahead: more may be read ahead from now on.
    pub(super) fn lend_more(&self) {
        self.shared.change(State::lend_more);
    }

    /// Takes part with one more partition, until the account, all its sources and its records are gone.
    pub(super) fn partition(&self) -> PartitionAccount {
        let id = self.shared.lock().add_partition(self.shared.reserve);
        PartitionAccount {
            owner: Arc::new(PartitionOwner {
                shared: self.shared.clone(),
                id,
            }),
        }
    }

    /// Counts `bytes` that are needed beside the streams. Never waits: what asks must have a bound of its own.
    pub fn hold(&self, bytes: usize) -> Charge {
        self.shared.lock().hold(bytes);
        Charge {
            bytes,
            queued: false,
            holder: Holder::Nobody(self.shared.clone()),
        }
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("total", &self.total())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and then lets those go on who can.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        state.wake();
        result
    }
}

/// One partition's part in the budget.
pub(super) struct PartitionAccount {
    owner: Arc<PartitionOwner>,
}

struct PartitionOwner {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for PartitionOwner {
    fn drop(&mut self) {
        self.shared.change(|state| state.remove_partition(self.id));
    }
}

impl PartitionAccount {
    /// An account for one object of the partition, which borrows until it is [promoted](SourceAccount::promote).
    pub(super) fn source(&self) -> SourceAccount {
        let id = self.owner.shared.lock().add_source(self.owner.id);
        SourceAccount {
            owner: Arc::new(SourceOwner {
                partition: self.owner.clone(),
                id,
            }),
        }
    }

    /// Says how many objects live on the reserve now. With one at most, the reserve shrinks back.
    pub(super) fn set_members(&self, members: usize) {
        let shared = &self.owner.shared;
        shared.change(|state| state.set_members(self.owner.id, members, shared.reserve));
    }

    /// Counts `bytes` of records that are on their way out.
    pub(super) fn hold(&self, bytes: usize) -> Charge {
        self.owner.shared.lock().hand_out(self.owner.id, bytes);
        Charge {
            bytes,
            queued: false,
            holder: Holder::Partition(self.owner.clone()),
        }
    }

    /// Bytes that the objects at the head of the partition live on now.
    pub(super) fn reserve(&self) -> usize {
        self.owner.shared.lock().reserve_of(self.owner.id)
    }

    /// Makes the reserve at least `bytes`. Waits for objects read ahead (of any partition) to give back, and
    /// for a merge in another partition to end.
    ///
    /// # Errors
    /// Where the budget can never give that much.
    pub(super) async fn grow(&self, bytes: usize) -> Result<(), TooMuch> {
        let receiver = {
            let mut state = self.owner.shared.lock();
            if bytes <= state.reserve_of(self.owner.id) {
                return Ok(());
            }
            let most = state.largest_reserve(self.owner.id);
            if bytes > most {
                return Err(TooMuch { bytes, most });
            }
            // Twice as much as now, so that a growing merge does not wait for every member.
            let wish = bytes.max((2 * state.reserve_of(self.owner.id)).min(most));
            let (sender, receiver) = oneshot::channel();
            state.ask_growth(self.owner.id, wish, sender);
            state.wake();
            receiver
        };
        // The sender is only dropped with the partition, which `self` keeps.
        let _ = receiver.await;
        Ok(())
    }
}

/// A reserve that the budget cannot give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch {
    pub(super) bytes: usize,
    pub(super) most: usize,
}

/// One object's part in the budget. Clones stand for the same object.
#[derive(Clone)]
pub(super) struct SourceAccount {
    owner: Arc<SourceOwner>,
}

struct SourceOwner {
    partition: Arc<PartitionOwner>,
    id: u64,
}

impl Drop for SourceOwner {
    fn drop(&mut self) {
        self.partition.shared.change(|state| state.remove_source(self.id));
    }
}

impl SourceAccount {
    fn shared(&self) -> &Arc<Shared> {
        &self.owner.partition.shared
    }

    /// Bytes that this object should keep to, whether it reads ahead or is a member of a merge.
    pub(super) fn share(&self) -> usize {
        self.shared().lock().share(self.owner.id)
    }

    /// The object is at the head of its partition now, and never has to wait again for long.
    pub(super) fn promote(&self) {
        self.shared().change(|state| state.promote(self.owner.id));
    }

    /// Takes `bytes` where that does not need waiting.
    pub(super) fn try_charge(&self, bytes: usize) -> Option<Charge> {
        let taken = self.shared().lock().try_take(self.owner.id, bytes);
        taken.then(|| self.taken(bytes))
    }

    /// Takes `bytes`, waiting for them as the rules say.
    pub(super) async fn charge(&self, bytes: usize) -> Charge {
        let receiver = {
            let mut state = self.shared().lock();
            if state.take_at_once(self.owner.id, bytes) {
                drop(state);
                return self.taken(bytes);
            }
            let (sender, receiver) = oneshot::channel();
            state.wait(self.owner.id, bytes, sender);
            receiver
        };
        let mut wait = Wait {
            account: self,
            bytes,
            receiver,
        };
        let granted = (&mut wait.receiver).await.is_ok();
        // Received: the guard has nothing to give back any more.
        drop(wait);
        if granted {
            self.taken(bytes)
        } else {
            // A source's waiters are only forgotten with the source, which `self` keeps.
            self.force(bytes)
        }
    }

    /// Takes `bytes` whatever the budget says: for memory that is in use already.
    pub(super) fn force(&self, bytes: usize) -> Charge {
        self.shared().lock().force(self.owner.id, bytes);
        self.taken(bytes)
    }

    fn taken(&self, bytes: usize) -> Charge {
        Charge {
            bytes,
            queued: false,
            holder: Holder::Source(self.clone()),
        }
    }
}

/// A wait for memory that may be given up half-way.
struct Wait<'a> {
    account: &'a SourceAccount,
    bytes: usize,
    receiver: oneshot::Receiver<()>,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        let granted = self.receiver.try_recv().is_ok();
        self.account.shared().change(|state| {
            if granted {
                state.give_back(self.account.owner.id, self.bytes);
            }
        });
    }
}

/// Bytes of the budget. Given back when dropped.
pub struct Charge {
    bytes: usize,
    /// True for a decoded block on its way to the consumer.
    queued: bool,
    holder: Holder,
}

enum Holder {
    /// An object that is being read.
    Source(SourceAccount),
    /// The user of a partition's records.
    Partition(Arc<PartitionOwner>),
    Nobody(Arc<Shared>),
}

impl Charge {
    /// The number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes it `bytes`, more or fewer, without waiting: for memory that is in use already.
    pub fn resize(&mut self, bytes: usize) {
        let (more, less) = (bytes.saturating_sub(self.bytes), self.bytes.saturating_sub(bytes));
        self.bytes = bytes;
        let shared = self.shared();
        if more > 0 {
            let mut state = shared.lock();
            match &self.holder {
                Holder::Source(source) => state.force(source.owner.id, more),
                Holder::Partition(partition) => state.hand_out(partition.id, more),
                Holder::Nobody(_) => state.hold(more),
            }
        } else if less > 0 {
            shared.change(|state| self.give_back(state, less));
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        match &self.holder {
            Holder::Source(source) => source.shared(),
            Holder::Partition(partition) => &partition.shared,
            Holder::Nobody(shared) => shared,
        }
    }

    fn give_back(&self, state: &mut State, bytes: usize) {
        match &self.holder {
            Holder::Source(source) => state.give_back(source.owner.id, bytes),
            Holder::Partition(partition) => state.take_in(partition.id, bytes),
            Holder::Nobody(_) => state.let_go(bytes),
        }
    }

    /// Marks the bytes as a block that waits for the consumer: its object has something to hand out.
    pub(super) fn queue(&mut self) {
        if let Holder::Source(source) = &self.holder
            && !self.queued
        {
            self.queued = true;
            source.shared().lock().queued(source.owner.id);
        }
    }

    /// Moves the bytes from the object to whoever uses its records.
    pub(super) fn deliver(mut self) -> Self {
        let Holder::Source(source) = &self.holder else {
            return self;
        };
        let partition = source.owner.partition.clone();
        let (id, bytes, queued) = (source.owner.id, self.bytes, self.queued);
        partition.shared.change(|state| {
            if queued {
                state.unqueued(id);
            }
            state.give_back(id, bytes);
            state.hand_out(partition.id, bytes);
        });
        self.bytes = 0;
        self.queued = false;
        Charge {
            bytes,
            queued: false,
            holder: Holder::Partition(partition),
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes == 0 && !self.queued {
            return;
        }
        self.shared().change(|state| {
            if let (Holder::Source(source), true) = (&self.holder, self.queued) {
                state.unqueued(source.owner.id);
            }
            self.give_back(state, self.bytes);
        });
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Charge")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
