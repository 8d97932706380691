//! Kafka's own jars, from Maven Central, kept in `<workspace>/target/testkit/kafka/<version>/`, those of its command line
//! tools in `<version>-tools/` beside it.
//!
//! Maven is run once for each; afterwards the folder is used as it is, so everything works offline. Several
//! processes may ask at the same time: a file lock lets one of them do the work. A folder is complete when its
//! marker file holds the digest of the pom it was made from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a broker is made of.
const BROKER: &str = "kafka_2.13";

/// A version of Apache Kafka that tests run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KafkaVersion {
    /// 3.9.1, the last line that still answers old request versions.
    V3_9,
    /// 4.1.1.
    V4_1,
}

impl KafkaVersion {
    /// Every version, oldest first.
    pub const ALL: [KafkaVersion; 2] = [KafkaVersion::V3_9, KafkaVersion::V4_1];

    /// The full version number, as Maven Central knows it.
    pub fn number(self) -> &'static str {
        match self {
            KafkaVersion::V3_9 => "3.9.1",
            KafkaVersion::V4_1 => "4.1.1",
        }
    }

    /// The logging backend: reload4j up to 3.9, log4j2 from 4.0 on.
    fn logging_artifacts(self) -> &'static [(&'static str, &'static str, &'static str)] {
        match self {
            KafkaVersion::V3_9 => &[("org.slf4j", "slf4j-reload4j", "1.7.36")],
            KafkaVersion::V4_1 => &[
                ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
                ("org.apache.logging.log4j", "log4j-core", "2.24.3"),
            ],
        }
    }

    fn logging_configuration(self) -> (&'static str, &'static str) {
        match self {
            KafkaVersion::V3_9 => (
                "log4j.properties",
                "log4j.rootLogger=WARN, stdout\n\
                 log4j.appender.stdout=org.apache.log4j.ConsoleAppender\n\
                 log4j.appender.stdout.layout=org.apache.log4j.PatternLayout\n\
                 log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n\n",
            ),
            KafkaVersion::V4_1 => (
                "log4j2.yaml",
                "Configuration:\n  Appenders:\n    Console:\n      name: STDOUT\n      PatternLayout:\n        \
                 pattern: \"[%d] %p %m (%c)%n\"\n  Loggers:\n    Root:\n      level: WARN\n      AppenderRef:\n        \
                 - ref: STDOUT\n",
            ),
        }
    }

    fn pom(self, artifact: &'static str) -> String {
        let mut dependencies = vec![("org.apache.kafka", artifact, self.number())];
        dependencies.extend(self.logging_artifacts());
        let dependencies: String = dependencies
            .iter()
            .map(|(group, artifact, version)| {
                format!(
                    "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                     <version>{version}</version></dependency>\n"
                )
            })
            .collect();
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
             <groupId>testkit</groupId><artifactId>kafka</artifactId><version>{}</version>\
             <packaging>pom</packaging>\n<dependencies>\n{dependencies}</dependencies></project>\n",
            self.number()
        )
    }

    /// True where the jars are already on this machine, so that nothing needs the network.
    pub fn is_installed(self) -> bool {
        holds(&folder_of(self.number()), &self.pom(BROKER))
    }

    /// Gets the jars where they are missing.
    ///
    /// # Errors
    ///
    /// Where `mvn` is missing or fails; the message holds what it printed.
    pub fn install(self) -> Result<Installation> {
        self.install_into(folder_of(self.number()), BROKER)
    }

    /// The same for the jars of the command line tools.
    ///
    /// # Errors
    ///
    /// As [`install`](Self::install).
    pub fn install_tools(self) -> Result<Installation> {
        self.install_into(folder_of(&format!("{}-tools", self.number())), "kafka-tools")
    }

    fn install_into(self, folder: PathBuf, artifact: &'static str) -> Result<Installation> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("cannot lock the folder of Kafka's jars")?;
        let pom = self.pom(artifact);
        if !holds(&folder, &pom) {
            self.download(&folder, &pom)?;
        }
        Ok(Installation {
            folder,
            version: self,
        })
    }

    fn download(self, folder: &Path, pom: &str) -> Result<()> {
        let libs = folder.join("libs");
        if libs.exists() {
            fs::remove_dir_all(&libs)?;
        }
        fs::write(folder.join("pom.xml"), pom)?;
        let (name, text) = self.logging_configuration();
        fs::write(folder.join(name), text)?;
        let output = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"])
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .context("cannot run mvn: install Maven and a Java 17 (Debian: apt-get install maven openjdk-17-jdk-headless)")?;
        if !output.status.success() {
            bail!(
                "Maven could not get the jars of Kafka {} ({}):\n{}{}",
                self.number(),
                output.status,
                output.stdout.escape_ascii().to_string().replace("\\n", "\n"),
                output.stderr.escape_ascii().to_string().replace("\\n", "\n"),
            );
        }
        fs::write(folder.join("installed.xml"), pom)?;
        Ok(())
    }
}

/// The jars of one version on this machine.
#[derive(Clone, Debug)]
pub struct Installation {
    folder: PathBuf,
    version: KafkaVersion,
}

impl Installation {
    /// The arguments of `java` that put the jars on the class path and set up logging; a main class follows.
    ///
    /// Heap and compiler are small: what starts fast.
    pub fn java_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "-Xmx256m".into(),
            "-XX:+UseSerialGC".into(),
            "-XX:TieredStopAtLevel=1".into(),
        ];
        arguments.extend(self.class_path_arguments());
        arguments
    }

    /// The same, with Java's own choice of heap and compiler.
    pub fn class_path_arguments(&self) -> Vec<String> {
        let (name, _) = self.version.logging_configuration();
        let key = match self.version {
            KafkaVersion::V3_9 => "log4j.configuration",
            KafkaVersion::V4_1 => "log4j2.configurationFile",
        };
        vec![
            format!("-D{key}=file:{}", self.folder.join(name).display()),
            "-cp".into(),
            format!("{}/*", self.folder.join("libs").display()),
        ]
    }
}

/// True where the folder is complete, and for this pom.
fn holds(folder: &Path, pom: &str) -> bool {
    fs::read_to_string(folder.join("installed.xml")).is_ok_and(|text| text == pom)
}

fn folder_of(name: &str) -> PathBuf {
    cache_folder().join("kafka").join(name)
}

/// Where downloads for tests are kept: `<workspace>/target/testkit`, whatever the target folder of the build is.
pub fn cache_folder() -> PathBuf {
    workspace_folder().join("target").join("testkit")
}

/// The root of the workspace that this crate was built in.
pub fn workspace_folder() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_path_buf()
}
