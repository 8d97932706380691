//! What a broker is started with: the builder, and the text of `server.properties`.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::Broker;
use crate::certificates::Certificates;
use crate::jars::KafkaVersion;

/// Whether a TLS listener asks clients for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Clients are not asked.
    None,
    /// Clients without a certificate of the broker's authority are refused.
    Required,
}

/// What a broker is started with; see [`Broker::builder`].
#[derive(Clone, Debug)]
pub struct BrokerBuilder {
    pub(super) version: KafkaVersion,
    pub(super) nodes: usize,
    pub(super) tls: Option<ClientCertificate>,
    pub(super) certificate_names: Vec<String>,
    pub(super) users: Vec<(String, String)>,
    pub(super) authorizer: bool,
    pub(super) behind_proxy: bool,
    properties: Vec<(String, String)>,
}

/// The ports of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodePorts {
    /// Plain text, for the brokers themselves, readiness and reading back.
    pub(super) internal: u16,
    pub(super) controller: u16,
    /// What the program under test connects to, with TLS or SASL where asked for.
    pub(super) client: u16,
    /// What the client listener advertises: its own port, or a proxy's.
    pub(super) advertised: u16,
}

impl BrokerBuilder {
    pub(super) fn new(version: KafkaVersion) -> Self {
        Self {
            version,
            nodes: 1,
            tls: None,
            certificate_names: ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec(),
            users: Vec::new(),
            authorizer: false,
            behind_proxy: false,
            properties: Vec::new(),
        }
    }

    /// How many brokers form the cluster (1 by default). New topics get as many replicas, up to 3, by default.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Sets a line of `server.properties`; it wins over what the testkit writes itself.
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.into(), value.into()));
        self
    }

    /// Makes the client listener speak TLS with a certificate of a private authority (see [`Broker::certificates`]).
    pub fn tls(mut self, client_certificate: ClientCertificate) -> Self {
        self.tls = Some(client_certificate);
        self
    }

    /// The names in the server's certificate; `localhost`, `127.0.0.1` and `::1` by default.
    pub fn certificate_names(mut self, names: &[&str]) -> Self {
        self.certificate_names = names.iter().map(ToString::to_string).collect();
        self
    }

    /// Makes the client listener ask for SASL and adds a user for PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
    /// OAUTHBEARER is on as well and takes unsecured tokens of any subject.
    pub fn sasl_user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.into(), password.into()));
        self
    }

    /// Turns on access control: only `User:ANONYMOUS` (the internal listener) and `User:admin` may do anything.
    pub fn authorizer(mut self) -> Self {
        self.authorizer = true;
        self
    }

    /// Puts a [`crate::proxy::Proxy`] before the client listener of every node; see [`Broker::proxy`].
    pub fn behind_proxy(mut self) -> Self {
        self.behind_proxy = true;
        self
    }

    /// Starts the cluster and waits until every node answers and knows all the others.
    ///
    /// # Errors
    ///
    /// Where the jars cannot be had or a broker does not come up; the message holds the end of its log.
    pub fn start(self) -> Result<Broker> {
        Broker::start(self)
    }

    /// The security protocol of the client listener, in Kafka's spelling.
    pub(super) fn protocol(&self) -> &'static str {
        match (self.tls.is_some(), self.users.is_empty()) {
            (false, true) => "PLAINTEXT",
            (true, true) => "SSL",
            (false, false) => "SASL_PLAINTEXT",
            (true, false) => "SASL_SSL",
        }
    }

    pub(super) fn server_properties(
        &self,
        node: usize,
        ports: &[NodePorts],
        log_dir: &Path,
        certificates: Option<&Certificates>,
    ) -> String {
        let own = ports[node];
        let id = node + 1;
        let replicas = self.nodes.min(3);
        let protocol = self.protocol();
        let voters: Vec<String> = (1..)
            .zip(ports)
            .map(|(id, ports)| format!("{id}@127.0.0.1:{}", ports.controller))
            .collect();
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id={id}\n\
             controller.quorum.voters={voters}\n\
             listeners=INTERNAL://127.0.0.1:{internal},CLIENT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=INTERNAL://127.0.0.1:{internal},CLIENT://127.0.0.1:{advertised}\n\
             inter.broker.listener.name=INTERNAL\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:{protocol}\n\
             log.dirs={log_dir}\n\
             default.replication.factor={replicas}\n\
             offsets.topic.replication.factor={replicas}\n\
             offsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor={replicas}\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\n\
             controlled.shutdown.retry.backoff.ms=200\n\
             log.retention.ms=-1\n\
             log.cleaner.dedupe.buffer.size=8388608\n\
             message.max.bytes=10485760\n",
            voters = voters.join(","),
            internal = own.internal,
            client = own.client,
            controller = own.controller,
            advertised = own.advertised,
            log_dir = log_dir.display(),
        );
        if let (Some(client_certificate), Some(certificates)) = (self.tls, certificates) {
            let _ = write!(
                text,
                "listener.name.client.ssl.keystore.type=PEM\n\
                 listener.name.client.ssl.keystore.location={store}\n\
                 listener.name.client.ssl.truststore.type=PEM\n\
                 listener.name.client.ssl.truststore.location={ca}\n\
                 listener.name.client.ssl.client.auth={auth}\n",
                store = certificates.server_store().display(),
                ca = certificates.ca().display(),
                auth = match client_certificate {
                    ClientCertificate::None => "none",
                    ClientCertificate::Required => "required",
                },
            );
        }
        if !self.users.is_empty() {
            let plain: String = self
                .users
                .iter()
                .map(|(name, password)| format!(" user_{name}=\"{password}\""))
                .collect();
            let modules = "org.apache.kafka.common.security";
            let _ = write!(
                text,
                "listener.name.client.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER\n\
                 listener.name.client.plain.sasl.jaas.config={modules}.plain.PlainLoginModule required{plain};\n\
                 listener.name.client.scram-sha-256.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n\
                 listener.name.client.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;\n\
                 listener.name.client.oauthbearer.sasl.jaas.config={modules}.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";\n",
            );
        }
        if self.authorizer {
            text.push_str(
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:ANONYMOUS;User:admin\n",
            );
        }
        for (key, value) in &self.properties {
            // Of a key that stands twice Java takes the last value.
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    /// The `--add-scram` arguments of `StorageTool format`.
    pub(super) fn scram_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        for (name, password) in &self.users {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                arguments.push("--add-scram".into());
                arguments.push(format!("{mechanism}=[name={name},password={password}]"));
            }
        }
        arguments
    }
}
