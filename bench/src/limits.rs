//! The program alone against an ideal outside world: brokers that acknowledge at once, or late, or over narrow
//! connections; a store that is far away.

use anyhow::{Result, ensure};
use kafka::batch::Compression;

use crate::dataset::{Dataset, Form, Shape};
use crate::floor::Stage;
use crate::generate;
use crate::harness::{Settings, floor, note, program, say};
use crate::measure::{self, Cost};
use crate::server::Server;
use crate::sink::Taken;
use crate::store::Asked;

/// How late a far store answers, in milliseconds.
const STORE_LATENCY: u64 = 50;

/// How late a far broker answers, in milliseconds.
const SINK_DELAY: u64 = 20;

/// What a narrow connection carries, in megabytes per second.
const NARROW: u64 = 50;

/// One run of the program into a sink.
struct Run {
    client: Cost,
    sink_cpu: f64,
    taken: Taken,
}

fn dataset(settings: &Settings, shape: Shape, form: Form) -> Dataset {
    Dataset {
        shape,
        form,
        scale: settings.scale,
    }
}

fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

fn sink_server(dataset: &Dataset, behaviour: &[String]) -> Result<Server> {
    let mut arguments = vec!["--partitions".to_owned(), dataset.partitions().to_string()];
    arguments.extend_from_slice(behaviour);
    Server::start("sink", &arguments)
}

/// Runs the program once, from the local disk into a sink of its own.
fn into_sink(
    settings: &Settings,
    dataset: &Dataset,
    codec: Compression,
    behaviour: &[String],
) -> Result<Run> {
    let folder = generate::ensure(dataset, &settings.data)?;
    let sink = sink_server(dataset, behaviour)?;
    let bootstrap = format!("127.0.0.1:{}", sink.port);
    let (client, _) = measure::child(&mut program(settings, dataset, folder, &bootstrap, codec))?;
    let sink_cpu = sink.cpu()?;
    let taken: Taken = sink.finish()?;
    ensure!(
        taken.records == dataset.records(),
        "{} of {} records arrived",
        taken.records,
        dataset.records()
    );
    note(&format!(
        "{}: wall {:.2} s, CPU {:.2} s, sink CPU {:.2} s, {} MiB, {taken:?}, load {}",
        dataset.name(),
        client.wall,
        client.cpu,
        sink_cpu,
        client.memory >> 20,
        measure::load()
    ));
    Ok(Run {
        client,
        sink_cpu,
        taken,
    })
}

/// The run in the middle of some.
fn middle<T>(mut runs: Vec<T>, by: impl Fn(&T) -> f64) -> Result<T> {
    runs.sort_by(|one, other| by(one).total_cmp(&by(other)));
    ensure!(!runs.is_empty(), "no rounds");
    Ok(runs.swap_remove((runs.len() - 1) / 2))
}

/// The program into a sink that acknowledges at once, beside the pipeline alone on one thread.
///
/// # Errors
///
/// Where a run fails or records are missing.
pub fn sink(settings: &Settings) -> Result<()> {
    say("\n### into a sink that acknowledges at once\n\n\
         | data | batches | wall s | between first and last batch s | client CPU s | sink CPU s | pipeline alone CPU s | \
         wall / (pipeline / cores) | wall / ((client + sink) / cores) | peak MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|");
    let cores = cores();
    for (shape, form, codec) in [
        (Shape::Small, Form::CsvGzip, Compression::None),
        (Shape::Small, Form::Csv, Compression::None),
        (Shape::Single, Form::CsvGzip, Compression::None),
        (Shape::Small, Form::CsvGzip, Compression::Zstd),
        (Shape::Single, Form::CsvGzip, Compression::Zstd),
    ] {
        let dataset = dataset(settings, shape, form);
        let folder = generate::ensure(&dataset, &settings.data)?;
        let (mut runs, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            runs.push(into_sink(settings, &dataset, codec, &[])?);
            floors.push(floor(Stage::Pipeline, &folder, codec)?);
        }
        let run = middle(runs, |run| run.client.wall)?;
        let floor = middle(floors, |floor| floor.cpu)?;
        say(&format!(
            "| {} | {codec} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {} |",
            dataset.name(),
            run.client.wall,
            run.taken.seconds,
            run.client.cpu,
            run.sink_cpu,
            floor.cpu,
            run.client.wall * cores / floor.cpu,
            run.client.wall * cores / (run.client.cpu + run.sink_cpu),
            run.client.memory >> 20
        ));
    }
    Ok(())
}

/// The program's memory with a topic of 1 GB and with one of ten times that, into a sink that acknowledges at once.
///
/// # Errors
///
/// As [`sink`].
pub fn growth(settings: &Settings) -> Result<()> {
    say(
        "\n### topics of 1 and 10 GB, into a sink that acknowledges at once\n\n\
         | data | records | payload MB | wall s | client CPU µs/record | sink CPU s | peak MiB, each round |\n\
         |---|---|---|---|---|---|---|",
    );
    for times in [1.0, 10.0] {
        let dataset = Dataset {
            shape: Shape::Small,
            form: Form::CsvGzip,
            scale: settings.scale * times,
        };
        note(&format!("generating {} records", dataset.records()));
        let runs: Vec<Run> = (0..settings.rounds)
            .map(|_| into_sink(settings, &dataset, Compression::None, &[]))
            .collect::<Result<_>>()?;
        let peaks: Vec<String> = runs
            .iter()
            .map(|run| (run.client.memory >> 20).to_string())
            .collect();
        let run = middle(runs, |run| run.client.wall)?;
        say(&format!(
            "| {} | {} | {} | {:.2} | {:.3} | {:.2} | {} |",
            dataset.name(),
            dataset.records(),
            dataset.payload_bytes() / 1_000_000,
            run.client.wall,
            run.client.cpu * 1e6 / dataset.records() as f64,
            run.sink_cpu,
            peaks.join(", ")
        ));
    }
    Ok(())
}

/// The program into a sink whose answers come late: by a network's time, and by that of followers; and into one that
/// takes only so much from each connection.
///
/// # Errors
///
/// As [`sink`].
pub fn delays(settings: &Settings) -> Result<()> {
    say(&format!(
        "\n### into a sink that answers {SINK_DELAY} ms late, or takes {NARROW} MB/s from a connection\n\n\
         | data | sink | wall s | between first and last batch s | MB/s of batches | MB in a request | connections |\n\
         |---|---|---|---|---|---|---|"
    ));
    for shape in [Shape::Small, Shape::Single] {
        let dataset = dataset(settings, shape, Form::CsvGzip);
        for (name, behaviour) in [
            ("at once", None),
            ("late on the way", Some(("--latency", SINK_DELAY))),
            (
                "late, one request after the other",
                Some(("--service", SINK_DELAY)),
            ),
            ("narrow connections", Some(("--bandwidth", NARROW))),
        ] {
            let behaviour = behaviour.map(|(option, value)| [option.to_owned(), value.to_string()]);
            let behaviour = behaviour.map(Vec::from).unwrap_or_default();
            let runs = (0..settings.rounds)
                .map(|_| into_sink(settings, &dataset, Compression::None, &behaviour))
                .collect::<Result<_>>()?;
            let run = middle(runs, |run| run.client.wall)?;
            let megabytes = run.taken.bytes as f64 / 1e6;
            say(&format!(
                "| {} | {} | {:.2} | {:.2} | {:.0} | {:.2} | {} |",
                dataset.name(),
                name,
                run.client.wall,
                run.taken.seconds,
                megabytes / run.taken.seconds,
                megabytes / run.taken.requests as f64,
                run.taken.connections
            ));
        }
    }
    Ok(())
}

/// The program from a store that is far away, many small objects, into a sink: all partitions, then one alone.
///
/// # Errors
///
/// As [`sink`].
pub fn latency(settings: &Settings) -> Result<()> {
    say(&format!(
        "\n### {STORE_LATENCY} ms for each request to the store\n\n\
         | data | partitions | wall s | pages | listing s | reads | reading s | reads/s | most under way | under way in the mean | \
         reads/s / (most / latency) | client CPU s | store CPU s | peak MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    ));
    for (shape, form, one) in [
        (Shape::Tiny, Form::CsvGzip, false),
        (Shape::Tiny, Form::CsvGzip, true),
        (Shape::Small, Form::CsvGzip, false),
    ] {
        let dataset = dataset(settings, shape, form);
        let folder = generate::ensure(&dataset, &settings.data)?;
        let mut runs = Vec::new();
        for _ in 0..settings.rounds {
            let arguments = [
                "--from".to_owned(),
                folder.display().to_string(),
                "--latency".to_owned(),
            ];
            let store = Server::start("store", &[&arguments[..], &[STORE_LATENCY.to_string()]].concat())?;
            let sink = sink_server(&dataset, &[])?;
            let bootstrap = format!("127.0.0.1:{}", sink.port);
            let mut command = program(settings, &dataset, "s3://bench", &bootstrap, Compression::None);
            command
                .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", store.port))
                .env("AWS_ACCESS_KEY_ID", "bench")
                .env("AWS_SECRET_ACCESS_KEY", "bench")
                .env("AWS_REGION", "us-east-1");
            if one {
                command.args(["--partition", "0"]);
            }
            let (client, _) = measure::child(&mut command)?;
            let store_cpu = store.cpu()?;
            let asked: Asked = store.finish()?;
            let taken: Taken = sink.finish()?;
            let expected = match one {
                true => dataset.records_per_partition(),
                false => dataset.records(),
            };
            ensure!(
                taken.records == expected,
                "{} of {expected} records arrived",
                taken.records
            );
            note(&format!(
                "{}: wall {:.2} s, CPU {:.2} s, {asked:?}, load {}",
                dataset.name(),
                client.wall,
                client.cpu,
                measure::load()
            ));
            runs.push((client, store_cpu, asked));
        }
        let (client, store_cpu, asked) = middle(runs, |(client, ..)| client.wall)?;
        let possible = asked.most as f64 * 1000.0 / STORE_LATENCY as f64;
        say(&format!(
            "| {} | {} | {:.2} | {} | {:.2} | {} | {:.2} | {:.0} | {} | {:.1} | {:.2} | {:.2} | {:.2} | {} |",
            dataset.name(),
            if one { 1 } else { dataset.partitions() },
            client.wall,
            asked.pages,
            asked.listing,
            asked.reads,
            asked.reading,
            asked.rate(),
            asked.most,
            asked.under_way / asked.reading,
            asked.rate() / possible,
            client.cpu,
            store_cpu,
            client.memory >> 20
        ));
    }
    Ok(())
}
