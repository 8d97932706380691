//! A pool of plain threads for CPU work: unwrapping, decoding, encoding, compressing.
//!
//! The asynchronous runtime's threads must not be kept busy for milliseconds, and its blocking pool would
//! start hundreds of threads; so CPU work goes here, first come, first served. A hop costs a few
//! microseconds: jobs should be worth it (a block of records, not a record).

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Plain threads that run jobs in the order in which they come, but for those that go first. Cheap to clone; the threads end when the
/// last clone is gone and the jobs that were waiting are done.
#[derive(Clone)]
pub struct CpuPool {
    owner: Arc<Owner>,
}

/// Tells the threads to end when the last handle goes away.
struct Owner {
    queue: Arc<Queue>,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl CpuPool {
    /// A pool with `threads` threads, at least one.
    ///
    /// # Errors
    /// Where the operating system gives not even one thread; with fewer than asked for the pool works.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut started = 0;
        for number in 0..threads.max(1) {
            let queue = queue.clone();
            match thread::Builder::new()
                .name(format!("cpu-{number}"))
                .spawn(move || queue.work())
            {
                Ok(_) => started += 1,
                Err(error) if started == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(Self {
            owner: Arc::new(Owner {
                queue,
                threads: started,
            }),
        })
    }

    /// A pool with one thread for each core that this process may use.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn per_core() -> std::io::Result<Self> {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.owner.threads
    }

    /// Queues `job` for one of the threads.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> CpuJob<T> {
        self.run_at(VecDeque::push_back, job)
    }

    /// The same before all jobs that wait: for what comes last in the pipeline. It sets memory free, and finds the records
    /// in the processor's caches still.
    pub fn run_first<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> CpuJob<T> {
        self.run_at(VecDeque::push_front, job)
    }

    fn run_at<T: Send + 'static>(
        &self,
        push: fn(&mut VecDeque<Job>, Job),
        job: impl FnOnce() -> T + Send + 'static,
    ) -> CpuJob<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(job)).map_err(|panic| CpuError {
                message: panic_message(&*panic),
            });
            // Nobody waits for it any more where this fails.
            let _ = sender.send(result);
        });
        self.owner.queue.add(|jobs| push(jobs, job));
        CpuJob { receiver }
    }
}

/// A job that is queued, or runs, or is done: a future of what it gives. It runs even where this is dropped.
///
/// The future's error is a [`CpuError`] where the job panicked; the thread goes on.
#[derive(Debug)]
pub struct CpuJob<T> {
    receiver: oneshot::Receiver<Result<T, CpuError>>,
}

impl<T> Future for CpuJob<T> {
    type Output = Result<T, CpuError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(context).map(|received| {
            // The threads end behind the last job, so there always is a result.
            received.unwrap_or_else(|_| {
                Err(CpuError {
                    message: "the thread pool has ended".to_owned(),
                })
            })
        })
    }
}

impl fmt::Debug for CpuPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuPool")
            .field("threads", &self.owner.threads)
            .finish_non_exhaustive()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        drop(state);
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn add(&self, add: impl FnOnce(&mut VecDeque<Job>)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut state.jobs);
        drop(state);
        self.changed.notify_one();
    }

    fn work(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            } else if state.closed {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// A job that panicked: a defect of this program, never of the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a defect in this program stopped the work on this data: {message}")]
pub struct CpuError {
    /// What the panic said.
    pub message: String,
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn results_come_back_and_a_panic_is_an_error_that_leaves_the_pool_alive() {
        let pool = CpuPool::new(1).unwrap();
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
        let error = pool.run(|| -> u8 { panic!("number {}", 3) }).await.unwrap_err();
        assert_eq!(error.message, "number 3");
        assert_eq!(pool.run(|| "still here").await, Ok("still here"));
    }

    #[tokio::test]
    async fn all_threads_work_at_once() {
        let pool = CpuPool::new(3).unwrap();
        // Nobody passes the barrier before all three jobs run at the same time.
        let barrier = Arc::new(std::sync::Barrier::new(3));
        let jobs = (0..3).map(|number| {
            let barrier = barrier.clone();
            pool.run(move || {
                barrier.wait();
                number
            })
        });
        let results = futures::future::join_all(jobs).await;
        assert_eq!(results, [Ok(0), Ok(1), Ok(2)]);
    }

    #[tokio::test]
    async fn what_goes_first_passes_what_waits() {
        let pool = CpuPool::new(1).unwrap();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        // The one thread is busy until all three wait.
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name| {
            let order = order.clone();
            move || order.lock().unwrap().push(name)
        };
        let busy = pool.run(move || begun.recv().unwrap());
        let queued = async { begin.send(()).unwrap() };
        let (busy, one, two, first, ()) = tokio::join!(
            busy,
            pool.run(note("one")),
            pool.run(note("two")),
            pool.run_first(note("first")),
            queued
        );
        assert!(busy.is_ok() && one.is_ok() && two.is_ok() && first.is_ok());
        assert_eq!(*order.lock().unwrap(), ["first", "one", "two"]);
    }

    #[tokio::test]
    async fn jobs_that_wait_are_done_before_the_threads_end() {
        let done = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let pool = CpuPool::new(1).unwrap();
        for _ in 0..10 {
            let (done, sender) = (done.clone(), sender.clone());
            let job: Job = Box::new(move || {
                done.fetch_add(1, Ordering::Relaxed);
                drop(sender);
            });
            pool.owner.queue.add(|jobs| jobs.push_back(job));
        }
        drop((pool, sender));
        // Ends when the last job's sender is gone.
        assert!(receiver.recv().is_err());
        assert_eq!(done.load(Ordering::Relaxed), 10);
    }
}
