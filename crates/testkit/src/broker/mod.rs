//! A real Kafka cluster of one or several brokers, in KRaft mode, on free loopback ports.
//!
//! Every node has two listeners: the *client* listener (plain text by default, TLS and SASL on demand, optionally
//! behind a fault proxy) is what the program under test connects to; the *internal* one is always plain text, has full
//! rights, and is what tests use to create topics and to read back. Brokers die with the process that started them.

mod settings;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::jars::Installation;
pub use crate::jars::KafkaVersion;
use crate::ports::free_port;
use crate::process::GuardedChild;
use crate::proxy::Proxy;
use settings::NodePorts;
pub use settings::{BrokerBuilder, ClientCertificate};

/// How long a cluster may take to come up on a slow, busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How often a start is tried again with other ports where a port was taken meanwhile.
const PORT_ATTEMPTS: usize = 4;

/// A running cluster; it is killed and its data removed when this is dropped.
#[derive(Debug)]
pub struct Broker {
    nodes: Vec<Node>,
    certificates: Option<Certificates>,
    protocol: &'static str,
    java: Vec<String>,
    // The last field, so that brokers are dead before their folder goes.
    folder: TempDir,
}

/// A cluster that was left running.
#[derive(Clone, Debug)]
pub struct KeptBroker {
    /// The process ids of its nodes.
    pub processes: Vec<u32>,
    /// The folder with its data and logs.
    pub folder: PathBuf,
}

#[derive(Debug)]
struct Node {
    ports: NodePorts,
    folder: PathBuf,
    process: Option<GuardedChild>,
    proxy: Option<Proxy>,
}

impl Node {
    fn log_file(&self) -> PathBuf {
        self.folder.join("broker.log")
    }
}

impl Broker {
    /// What to start; call [`BrokerBuilder::start`] at the end.
    pub fn builder(version: KafkaVersion) -> BrokerBuilder {
        BrokerBuilder::new(version)
    }

    /// One plain broker per version for all tests of a process; it ends with the process. Tests use topics of their
    /// own and neither stop it nor change it.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    pub fn shared(version: KafkaVersion) -> &'static Broker {
        static SHARED: [OnceLock<Broker>; KafkaVersion::ALL.len()] = [const { OnceLock::new() }; 2];
        let slot = match version {
            KafkaVersion::V3_9 => &SHARED[0],
            KafkaVersion::V4_1 => &SHARED[1],
        };
        slot.get_or_init(|| match Broker::builder(version).start() {
            Ok(broker) => broker,
            Err(error) => panic!("the shared broker did not start: {error:#}"),
        })
    }

    fn start(builder: BrokerBuilder) -> Result<Self> {
        let installation = builder.version.install()?;
        let mut attempt = 1;
        loop {
            match Self::try_start(&builder, &installation) {
                // Somebody else took one of the ports between the pick and the bind.
                Err(error)
                    if attempt < PORT_ATTEMPTS && format!("{error:#}").contains("Address already in use") =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn try_start(builder: &BrokerBuilder, installation: &Installation) -> Result<Self> {
        let folder =
            TempDir::with_prefix("kafka-restore-broker-").context("cannot create a temporary folder")?;
        let certificates = match builder.tls {
            Some(_) => Some(Certificates::generate(
                &folder.path().join("certificates"),
                &builder.certificate_names,
            )?),
            None => None,
        };
        let mut nodes = Vec::new();
        for number in 0..builder.nodes {
            let client = free_port();
            let proxy = match builder.behind_proxy {
                true => Some(Proxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, client)))?),
                false => None,
            };
            let ports = NodePorts {
                internal: free_port(),
                controller: free_port(),
                client,
                advertised: proxy.as_ref().map_or(client, |proxy| proxy.address().port()),
            };
            let node_folder = folder.path().join(format!("node-{number}"));
            fs::create_dir_all(&node_folder)?;
            nodes.push(Node {
                ports,
                folder: node_folder,
                process: None,
                proxy,
            });
        }
        let all_ports: Vec<NodePorts> = nodes.iter().map(|node| node.ports).collect();
        for (number, node) in nodes.iter().enumerate() {
            let text = builder.server_properties(
                number,
                &all_ports,
                &node.folder.join("data"),
                certificates.as_ref(),
            );
            fs::write(node.folder.join("server.properties"), text)?;
        }
        let mut broker = Self {
            nodes,
            certificates,
            protocol: builder.protocol(),
            java: installation.java_arguments(),
            folder,
        };
        broker.format(&builder.scram_arguments())?;
        for node in 0..broker.nodes.len() {
            broker.launch(node)?;
        }
        broker.wait_ready()?;
        Ok(broker)
    }

    fn format(&self, scram: &[String]) -> Result<()> {
        // Any 16 bytes in URL-safe base64 do; the folder's random name makes them differ between clusters.
        let name = self
            .folder
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let random: Vec<u8> = name.bytes().rev().chain(*b"kafka-restore-kit").take(16).collect();
        let cluster = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, random);
        for node in &self.nodes {
            let output = Command::new("java")
                .args(&self.java)
                .args(["kafka.tools.StorageTool", "format", "-t", &cluster, "-c"])
                .arg(node.folder.join("server.properties"))
                .args(scram)
                .stdin(Stdio::null())
                .output()
                .context(
                    "cannot run java: install a Java 17 (Debian: apt-get install openjdk-17-jre-headless)",
                )?;
            if !output.status.success() {
                bail!(
                    "Kafka's StorageTool failed ({}):\n{}{}",
                    output.status,
                    String::from_utf8_lossy(&output.stdout),
                    String::from_utf8_lossy(&output.stderr)
                );
            }
        }
        Ok(())
    }

    fn launch(&mut self, node: usize) -> Result<()> {
        let java = self.java.clone();
        // The folder of the whole cluster goes when this process dies: all nodes die with it.
        let remove = self.folder.path().to_path_buf();
        let node = self.node_mut(node)?;
        let properties = node.folder.join("server.properties");
        let mut arguments: Vec<&str> = java.iter().map(String::as_str).collect();
        let properties = properties
            .to_str()
            .context("the temporary folder's name is not UTF-8")?;
        arguments.extend(["kafka.Kafka", properties]);
        node.process = Some(GuardedChild::start(
            "java",
            &arguments,
            &node.log_file(),
            Some(&remove),
        )?);
        Ok(())
    }

    /// Waits until every running node answers a metadata request that names all running nodes.
    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        let running: Vec<usize> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].process.is_some())
            .collect();
        for &number in &running {
            let address = format!("127.0.0.1:{}", self.nodes[number].ports.internal);
            let client: BaseConsumer = rdkafka::ClientConfig::new()
                .set("bootstrap.servers", &address)
                .set("reconnect.backoff.ms", "50")
                .set("reconnect.backoff.max.ms", "200")
                .set("log_level", "0")
                .create()
                .context("cannot make a librdkafka client")?;
            loop {
                let metadata = client.fetch_metadata(None, Duration::from_secs(2));
                if metadata.is_ok_and(|metadata| metadata.brokers().len() >= running.len()) {
                    break;
                }
                let node = self.node_mut(number)?;
                let ended = node.process.as_mut().map_or(Ok(None), GuardedChild::ended)?;
                if let Some(status) = ended {
                    node.process = None;
                    bail!(
                        "broker {} ended at its start ({status}):\n{}",
                        number + 1,
                        log_tail(&node.log_file())
                    );
                }
                if Instant::now() > deadline {
                    bail!(
                        "broker {} did not answer within {} s:\n{}",
                        number + 1,
                        START_LIMIT.as_secs(),
                        log_tail(&node.log_file())
                    );
                }
            }
        }
        Ok(())
    }

    /// The client listeners of all nodes, `host:port` joined by commas; the proxies where there are any.
    pub fn bootstrap(&self) -> String {
        self.addresses(|ports| ports.advertised)
    }

    /// The internal plain-text listeners: full rights, no proxy.
    pub fn internal_bootstrap(&self) -> String {
        self.addresses(|ports| ports.internal)
    }

    fn addresses(&self, port: impl Fn(&NodePorts) -> u16) -> String {
        let addresses: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", port(&node.ports)))
            .collect();
        addresses.join(",")
    }

    /// The security protocol of [`bootstrap`](Self::bootstrap), in Kafka's spelling.
    pub fn security_protocol(&self) -> &'static str {
        self.protocol
    }

    /// The certificates of a cluster with TLS.
    ///
    /// # Panics
    ///
    /// Where the cluster was started without TLS.
    pub fn certificates(&self) -> &Certificates {
        match &self.certificates {
            Some(certificates) => certificates,
            None => panic!("this broker was started without tls()"),
        }
    }

    /// The fault proxy before a node's client listener (nodes count from 0).
    ///
    /// # Panics
    ///
    /// Where the cluster was started without `behind_proxy()` or has no such node.
    pub fn proxy(&self, node: usize) -> &Proxy {
        match self.nodes.get(node).and_then(|node| node.proxy.as_ref()) {
            Some(proxy) => proxy,
            None => panic!("node {node} is not behind a proxy"),
        }
    }

    /// The folder in which a node (from 0) keeps its partitions.
    pub fn log_dir(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{node}")).join("data")
    }

    /// What a node (from 0) printed.
    pub fn log_file(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{node}")).join("broker.log")
    }

    /// The process id of a node (from 0) that runs.
    ///
    /// # Errors
    ///
    /// Where nobody has noted one.
    pub fn process_id(&self, node: usize) -> Result<u32> {
        crate::process::process_id(&self.log_file(node))
    }

    /// Kafka's own id of a node counted from 0.
    pub fn broker_id(&self, node: usize) -> i32 {
        node as i32 + 1
    }

    /// Kills a node the hard way and waits until it is dead.
    pub fn kill9(&mut self, node: usize) -> Result<()> {
        self.end(node, "KILL")
    }

    /// Stops a node cleanly (SIGTERM, controlled shutdown) and waits for its end.
    pub fn stop(&mut self, node: usize) -> Result<()> {
        self.end(node, "TERM")
    }

    /// Freezes a node's process (SIGSTOP): its connections stay open and silent.
    pub fn pause(&mut self, node: usize) -> Result<()> {
        self.signal(node, "STOP")
    }

    /// Lets a paused node go on.
    pub fn resume(&mut self, node: usize) -> Result<()> {
        self.signal(node, "CONT")
    }

    fn signal(&mut self, node: usize, signal: &str) -> Result<()> {
        let process = self.node_mut(node)?.process.as_mut();
        process
            .with_context(|| format!("node {node} is not running"))?
            .signal(signal)
    }

    fn end(&mut self, node: usize, signal: &str) -> Result<()> {
        let process = self.node_mut(node)?.process.take();
        process
            .with_context(|| format!("node {node} is not running"))?
            .end(signal)?;
        Ok(())
    }

    /// Starts a node again, on its old ports and data, and waits until all running nodes answer. A node that runs is
    /// stopped cleanly first.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        self.begin_restart(node)?;
        self.wait_ready()
    }

    /// As [`restart`](Self::restart), but does not wait until the node answers.
    pub fn begin_restart(&mut self, node: usize) -> Result<()> {
        if self.node_mut(node)?.process.is_some() {
            self.stop(node)?;
        }
        self.launch(node)
    }

    /// Lets the cluster live on after this process. Returns how to end it: its processes and its folder.
    ///
    /// # Errors
    ///
    /// Where a node is not running.
    pub fn keep(self) -> Result<KeptBroker> {
        let mut processes = Vec::new();
        for node in self.nodes {
            let process = node.process.context("a node is not running")?;
            processes.push(process.release()?);
        }
        Ok(KeptBroker {
            processes,
            folder: self.folder.keep(),
        })
    }

    fn node_mut(&mut self, node: usize) -> Result<&mut Node> {
        self.nodes
            .get_mut(node)
            .with_context(|| format!("there is no node {node}"))
    }
}

/// The end of a log, enough to see why a broker did not start.
fn log_tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let tail = &bytes[bytes.len().saturating_sub(6000)..];
    format!(
        "{}\n(the end of {})",
        String::from_utf8_lossy(tail),
        log.display()
    )
}
