//! Log lines: what the libraries tell while they work, to stderr.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::argument::global::{GlobalArguments, LogFormat};
use crate::printer::Printer;

/// Turns log lines on, once per process. Only this project's own crates ever say more than warnings: those of
/// others could show what they send.
pub(crate) fn start(arguments: &GlobalArguments, printer: &Printer, no_color: bool) {
    let own = match arguments.verbose {
        _ if arguments.quiet => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let others = if arguments.quiet {
        LevelFilter::ERROR
    } else {
        LevelFilter::WARN
    };
    let filter = Targets::new()
        .with_default(others)
        .with_target("kafka_restore", own);
    let printer = printer.clone();
    let ansi = !no_color && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let layer = fmt::layer()
        .with_writer(move || printer.clone())
        .with_ansi(ansi)
        .with_target(false);
    let layer = match arguments.log_format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    };
    // A second start in one process keeps the first.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}
