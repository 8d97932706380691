//! Runs the program with nothing of this machine around it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use assert_cmd::Command;

/// A folder of its own and an empty environment.
pub(crate) struct TestEnvironment {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl TestEnvironment {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// The folder in which the program runs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets an environment variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("kafka-restore").unwrap();
        command.env_clear().current_dir(self.folder()).args(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.output().unwrap()
    }

    /// Starts the program, stdout and stderr piped.
    pub(crate) fn start(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("kafka-restore"));
        command.env_clear().current_dir(self.folder()).args(arguments);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the program and gives exit status, stdout and stderr as one text, without names of this machine.
    pub(crate) fn show(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = format!(
            "exit status: {}\n--- stdout\n{}--- stderr\n{}",
            output
                .status
                .code()
                .map_or_else(|| "none".to_owned(), |code| code.to_string()),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap()
        );
        let hide = |text: String, path: &Path, name: &str| text.replace(&*path.to_string_lossy(), name);
        let text = hide(text, self.folder(), "[FOLDER]");
        hide(text, &fixtures(), "[FIXTURES]")
    }
}

/// The project's fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .canonicalize()
        .unwrap()
}
