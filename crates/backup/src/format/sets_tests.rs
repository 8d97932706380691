//! The table of all golden backups in `docs/formats.md`, made from what is in them; with `UPDATE_DOCS=1` in the environment
//! the test writes it. And every proof that the page names must be there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ::parquet::file::reader::{FileReader, SerializedFileReader};
use bytes::Bytes;
use testkit::golden::GoldenSet;

use super::{Format, sniff};
use crate::container::{self, Container, unwrapper};

const BEGIN: &str = "<!-- made by a test: begin -->\n";
const END: &str = "<!-- made by a test: end -->\n";

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sets() -> Vec<GoldenSet> {
    GoldenSet::load_all(&project().join("fixtures/goldens")).expect("golden backups")
}

/// Sets that are damaged, by hand or by a sink that failed: other tables of the page are about those.
fn is_damaged(set: &GoldenSet) -> bool {
    ["derived-", "broken-"]
        .iter()
        .any(|start| set.name.starts_with(start))
}

/// The format of an object and its compression, outermost first, as its bytes say.
fn form(stored: &[u8]) -> Option<(Format, String)> {
    let mut around = Vec::new();
    let mut content = stored.to_vec();
    while let Some(mut unwrap) = unwrapper(container::sniff(&content)) {
        let container = container::sniff(&content);
        around.push(container.to_string());
        let mut plain = Vec::new();
        let used = unwrap.unwrap(&content, &mut plain, usize::MAX);
        assert_eq!(used, Ok(content.len()), "a whole {container}");
        content = plain;
    }
    let format = sniff(&content)?;
    let own = match format {
        Format::Avro => Some(format!("codec {}", avro_codec(&content))),
        Format::Parquet => Some(format!("pages {}", parquet_codec(content))),
        Format::Csv | Format::Json | Format::Jsonl => None,
    };
    let around = match around.is_empty() {
        true => Container::None.to_string(),
        false => around.join(" in "),
    };
    let compression = match (own, around.as_str()) {
        (Some(own), "none") => own,
        (Some(own), _) => format!("{own}, in {around}"),
        (None, _) => around,
    };
    Some((format, compression))
}

/// What the header of an Avro file says behind `avro.codec`: a length, doubled, and a name.
fn avro_codec(file: &[u8]) -> String {
    let name = b"avro.codec";
    let Some(at) = file.windows(name.len()).position(|window| window == name) else {
        return "null".to_owned();
    };
    let length = usize::from(file[at + name.len()] / 2);
    String::from_utf8(file[at + name.len() + 1..][..length].to_vec()).expect("a codec's name")
}

fn parquet_codec(file: Vec<u8>) -> String {
    let reader = SerializedFileReader::new(Bytes::from(file)).expect("a Parquet file");
    let codec = reader.metadata().row_group(0).column(0).compression();
    let name = format!("{codec:?}").to_lowercase();
    match name.split('(').next() {
        Some("uncompressed") | None => "none".to_owned(),
        Some(name) => name.to_owned(),
    }
}

fn fields(set: &GoldenSet) -> String {
    let setting = |name: &str| set.connector.get(name).map(String::as_str);
    let fields = setting("format.output.fields")
        .or_else(|| setting("output_fields"))
        .unwrap_or("value");
    let mut text = match fields {
        "key,value,offset,timestamp,headers" => "all".to_owned(),
        "key,value,offset,timestamp" => "all but headers".to_owned(),
        _ => fields.replace(',', ", "),
    };
    if setting("format.output.fields.value.encoding") == Some("none") {
        text.push_str(" (values unencoded)");
    }
    if setting("format.output.envelope") == Some("false") {
        text.push_str(" (no envelope)");
    }
    text
}

/// The connector's version, and its store where versions of both stores were counted apart.
fn version(set: &GoldenSet) -> String {
    let connector = set.meta["connector"].as_str().expect("a connector");
    if connector.contains("->") {
        return "S3 2.5.0 to 3.4.2".to_owned();
    }
    if connector.contains("HEAD") {
        return "unreleased".to_owned();
    }
    let number = connector
        .split([' ', 'v'])
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'))
        .expect("a version");
    match connector.split('-').next() {
        Some("gcs") => format!("GCS {number}"),
        Some("s3") => format!("S3 {number}"),
        _ => number.to_owned(),
    }
}

fn table() -> String {
    let mut rows: BTreeMap<_, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for set in sets().iter().filter(|set| !is_damaged(set)) {
        let topics = set.topics();
        let bare = set
            .connector
            .get("format.output.envelope")
            .is_some_and(|text| text == "false");
        let merged = set.name.contains("merged");
        let objects = set.objects.iter().filter(|object| {
            // Strangers were put into some buckets: they have no topic in their names.
            merged
                || topics
                    .iter()
                    .any(|(topic, _)| object.key.contains(topic.as_str()))
        });
        let forms: BTreeSet<_> = objects
            .filter_map(|object| form(&object.bytes))
            // Bare values may begin with anything.
            .map(|(format, compression)| match (format, bare) {
                (Format::Csv, true) => (Format::Jsonl, compression),
                _ => (format, compression),
            })
            .map(|(format, compression)| (format as usize, format!("{format:?}").to_lowercase(), compression))
            .collect();
        for form in forms {
            let versions = rows.entry((form, fields(set))).or_default();
            versions
                .entry(version(set))
                .or_default()
                .push(format!("`{}`", set.name));
        }
    }
    let mut text = "| format | compression | fields | sets |\n|---|---|---|---|\n".to_owned();
    for (((_, format, compression), fields), versions) in rows {
        let cell: Vec<String> = versions
            .into_iter()
            .map(|(version, sets)| format!("{version}: {}", sets.join(", ")))
            .collect();
        text.push_str(&format!(
            "| {format} | {compression} | {fields} | {} |\n",
            cell.join("; ")
        ));
    }
    text
}

#[test]
fn the_table_of_all_sets_is_up_to_date() {
    let path = project().join("docs/formats.md");
    let page = fs::read_to_string(&path).expect("docs/formats.md");
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (written, after) = rest.split_once(END).expect("where the table ends");
    let made = table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, [before, BEGIN, &made, END, after].concat()).expect("a page that can be written");
        return;
    }
    assert!(
        made == written,
        "docs/formats.md is out of date: UPDATE_DOCS=1 cargo test -p kafka-restore-backup all_sets"
    );
}

/// The source code below a folder in one text.
fn source(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).expect("a folder of source code") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => text.push_str(&source(&path)),
            false => text.push_str(&fs::read_to_string(&path).expect("source code")),
        }
    }
    text
}

#[test]
fn every_proof_that_the_page_names_is_there_and_every_set_is_named() {
    let page = fs::read_to_string(project().join("docs/formats.md")).expect("docs/formats.md");
    let code = source(&project().join("crates/backup/src"));
    let sets: BTreeSet<String> = sets().into_iter().map(|set| set.name).collect();
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    for name in &named {
        let starts = [
            "gcs-", "s3-", "azure-", "old-", "head-", "mixed-", "derived-", "broken-",
        ];
        // `old-` alone stands for all that begin so.
        if starts
            .iter()
            .any(|start| name.starts_with(start) && name != start)
        {
            assert!(sets.contains(*name), "{name} is no golden backup");
        }
        let words = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if words && name.contains('_') {
            assert!(code.contains(&format!("fn {name}(")), "{name} is no test");
        }
    }
    for set in &sets {
        assert!(
            named.contains(set.as_str()),
            "docs/formats.md does not name {set}"
        );
    }
}
