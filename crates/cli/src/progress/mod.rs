//! Progress as people and programs see it: a live bar, plain lines, JSON lines, or nothing.
//!
//! The library reports events to a [`Watcher`], which notes the newest ones; a thread of its own looks at them
//! from time to time and lets a [`View`] show the [`Status`]. Programs get the events themselves.

mod bar;
mod events;
mod meter;
mod plain;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ::restore::progress::{Event, Phase, Progress, Snapshot};

use crate::argument::global::ProgressStyle;
use crate::printer::Printer;

/// What the library reported last.
#[derive(Clone, Debug, Default)]
struct State {
    phase: Option<Phase>,
    subject: String,
    objects: u64,
    matched: u64,
    snapshot: Snapshot,
}

/// The state at one moment, with the rates of the last seconds.
#[derive(Clone, Debug)]
struct Status {
    state: State,
    records_per_second: f64,
    bytes_per_second: f64,
    seconds_left: Option<u64>,
}

/// A way to show a status.
trait View: Send {
    /// Shows it.
    fn show(&mut self, status: &Status);
    /// Takes away what must not stay.
    fn end(&mut self);
    /// How often [`View::show`] is wanted.
    fn interval(&self) -> Duration;
}

/// Receives a job's events and shows them until it is dropped.
pub(crate) struct Watcher {
    shared: Arc<Shared>,
    printer: Printer,
    events: Option<events::Events>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    ended: AtomicBool,
    wake: Condvar,
}

impl Watcher {
    /// Starts to show what is reported, in the way that `style` and the terminal ask for.
    pub(crate) fn start(style: ProgressStyle, quiet: bool, printer: &Printer) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            ended: AtomicBool::new(false),
            wake: Condvar::new(),
        });
        let view: Option<Box<dyn View>> = match style {
            ProgressStyle::None | ProgressStyle::Json => None,
            _ if quiet => None,
            ProgressStyle::Auto if std::io::stderr().is_terminal() => {
                Some(Box::new(bar::Bar::new(&printer.bars)))
            }
            ProgressStyle::Auto | ProgressStyle::Plain => Some(Box::new(plain::Plain::new(printer.clone()))),
        };
        let thread = view.and_then(|view| {
            let shared = Arc::clone(&shared);
            // Where no thread can be had, the work matters more than its bar.
            std::thread::Builder::new()
                .name("progress".into())
                .spawn(move || watch(&shared, view))
                .ok()
        });
        let events = (style == ProgressStyle::Json).then(events::Events::default);
        Self {
            shared,
            printer: printer.clone(),
            events,
            thread,
        }
    }
}

impl Progress for Watcher {
    fn report(&self, event: &Event) {
        if let Some(events) = &self.events {
            events.write(event, Instant::now());
        } else if let Event::Notice { message } = event {
            self.printer.say(message);
        }
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(event);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let guard = self.shared.state.lock();
        self.shared.ended.store(true, Ordering::Release);
        self.shared.wake.notify_all();
        drop(guard);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Phase { phase, subject } => {
                self.phase = Some(*phase);
                self.subject.clone_from(subject);
                self.snapshot = Snapshot::default();
            }
            Event::Listing { objects, matched } => (self.objects, self.matched) = (*objects, *matched),
            Event::Advance(snapshot) => self.snapshot = *snapshot,
            Event::PartitionDone { .. } | Event::Notice { .. } => {}
        }
    }
}

fn watch(shared: &Shared, mut view: Box<dyn View>) {
    let mut meter = meter::Meter::default();
    let mut guard = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    while !shared.ended.load(Ordering::Acquire) {
        guard = shared
            .wake
            .wait_timeout(guard, view.interval())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let state = guard.clone();
        drop(guard);
        if state.phase.is_some() {
            view.show(&status(state, &mut meter, Instant::now()));
        }
        guard = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    }
    drop(guard);
    view.end();
}

fn status(state: State, meter: &mut meter::Meter, now: Instant) -> Status {
    let Snapshot {
        stored_bytes_done,
        stored_bytes_total,
        records_done,
        exact,
        ..
    } = state.snapshot;
    let pace = meter.note(now, records_done, stored_bytes_done);
    let left = stored_bytes_total.saturating_sub(stored_bytes_done);
    let known = stored_bytes_total > 0 && pace.bytes >= 1.0;
    let reading = known.then(|| left as f64 / pace.bytes);
    // While offsets before the first record are filled, nothing is read; later the two go side by side.
    let filling = exact.map(|cost| cost.seconds_left).filter(|left| *left > 0.0);
    let longest = reading.into_iter().chain(filling).reduce(f64::max);
    Status {
        state,
        records_per_second: pace.records,
        bytes_per_second: pace.bytes,
        seconds_left: longest.map(|seconds| seconds.ceil() as u64),
    }
}

/// One line that says it all.
fn line(status: &Status) -> String {
    use crate::text::{bytes, count, duration};
    let State {
        phase,
        subject,
        objects,
        matched,
        snapshot,
    } = &status.state;
    let word = match phase {
        None => "starting",
        Some(Phase::List) => "listing",
        Some(Phase::Examine) => "looking at",
        Some(Phase::Prepare) => "preparing",
        Some(Phase::Restore) => "restoring",
        Some(Phase::Verify) => "verifying",
        Some(Phase::Finish) => "finishing",
    };
    let mut parts = Vec::new();
    match phase {
        Some(Phase::List) => {
            parts.push(format!(
                "{} objects, {} of them asked for",
                count(*objects),
                count(*matched)
            ));
        }
        Some(Phase::Restore | Phase::Verify) => {
            let (done, total) = (snapshot.stored_bytes_done, snapshot.stored_bytes_total);
            if let Some(percent) = (u128::from(done) * 100).checked_div(u128::from(total)) {
                parts.push(format!("{}% of {}", percent.min(100), bytes(total)));
            }
            parts.push(format!("{} records", count(snapshot.records_done)));
            parts.push(format!(
                "{} of {} partitions done",
                count(snapshot.partitions_done),
                count(snapshot.partitions_total)
            ));
            parts.push(format!(
                "{} records/s, {}/s",
                count(status.records_per_second as u64),
                bytes(status.bytes_per_second as u64)
            ));
            if let Some(cost) = snapshot.exact {
                parts.push(format!(
                    "{} of {} offsets without records filled",
                    count(cost.offsets),
                    count(cost.expected_offsets.max(cost.offsets))
                ));
            }
            if let Some(seconds) = status.seconds_left {
                parts.push(format!("{} left", duration(Duration::from_secs(seconds))));
            }
        }
        _ => {}
    }
    let mut line = word.to_owned();
    for (separator, text) in [(" ", subject.clone()), (": ", parts.join(", "))] {
        if !text.is_empty() {
            line.push_str(separator);
            line.push_str(&text);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::restore::progress::MeasuredCost;

    #[test]
    fn lines_for_people() {
        let mut state = State::default();
        let mut meter = meter::Meter::default();
        let start = Instant::now();
        assert_eq!(line(&status(state.clone(), &mut meter, start)), "starting");
        state.note(&Event::Phase {
            phase: Phase::List,
            subject: "gs://bucket/kafka".into(),
        });
        state.note(&Event::Listing {
            objects: 12_345,
            matched: 678,
        });
        assert_eq!(
            line(&status(state.clone(), &mut meter, start)),
            "listing gs://bucket/kafka: 12 345 objects, 678 of them asked for"
        );
        state.note(&Event::Phase {
            phase: Phase::Restore,
            subject: String::new(),
        });
        state.note(&Event::Advance(Snapshot {
            stored_bytes_done: 300_000_000,
            stored_bytes_total: 1_000_000_000,
            records_done: 1_234_567,
            partitions_done: 1,
            partitions_total: 6,
            ..Snapshot::default()
        }));
        assert_eq!(
            line(&status(state.clone(), &mut meter, start + Duration::from_secs(6))),
            "restoring: 30% of 1.0 GB, 1 234 567 records, 1 of 6 partitions done, 205 761 records/s, 50.0 MB/s, 14s left"
        );
        state.snapshot.exact = Some(MeasuredCost {
            expected_offsets: 1_000_000,
            offsets: 250_000,
            seconds: 10.0,
            seconds_left: 30.0,
            ..MeasuredCost::default()
        });
        let filling = line(&status(state, &mut meter, start + Duration::from_secs(6)));
        assert!(
            filling.ends_with(", 250 000 of 1 000 000 offsets without records filled, 30s left"),
            "{filling}"
        );
    }

    #[test]
    fn the_thread_ends_at_once_however_long_its_interval() {
        struct Recorder(Arc<Mutex<Vec<String>>>);
        impl View for Recorder {
            fn show(&mut self, status: &Status) {
                self.0.lock().unwrap().push(line(status));
            }
            fn end(&mut self) {
                self.0.lock().unwrap().push("end".into());
            }
            fn interval(&self) -> Duration {
                Duration::from_secs(3600)
            }
        }
        let shown = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            ended: AtomicBool::new(false),
            wake: Condvar::new(),
        });
        let view = Box::new(Recorder(Arc::clone(&shown)));
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || watch(&shared, view)
        });
        let printer = Printer::new(true, true);
        let watcher = Watcher {
            shared,
            printer,
            events: None,
            thread: Some(thread),
        };
        watcher.report(&Event::Phase {
            phase: Phase::Finish,
            subject: "orders".into(),
        });
        drop(watcher);
        assert_eq!(shown.lock().unwrap().last().map(String::as_str), Some("end"));
    }
}
