//! The program from outside: what it prints, writes and ends with. One binary, a module per matter.

mod appended;
mod backups;
mod config_files;
mod environment;
mod exact;
mod groups;
mod groups_sources;
mod help;
#[cfg(unix)]
mod interrupt;
mod kafka_trouble;
mod killed;
mod latest;
mod local_backup;
mod names;
mod restore;
mod resume;
mod rights;
mod shards;
mod snapshot;
mod storages;
mod topic_profile;
mod trouble;
mod usage;
mod verify;

/// A test file that is not named above would silently not run.
#[test]
fn every_file_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name != "main" && name != "snapshots" {
            assert!(
                main.contains(&format!("mod {name};")),
                "tests/it/main.rs does not name {name}"
            );
        }
    }
}
