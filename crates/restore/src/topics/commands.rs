//! What is left to do by hand, as commands of Kafka's own tools.

use std::collections::BTreeMap;

use kafka::cluster::Cluster;

/// The brokers' addresses as Kafka's tools take them.
pub(crate) fn servers(cluster: &Cluster) -> String {
    let servers = cluster.config().bootstrap.iter().map(ToString::to_string);
    servers.collect::<Vec<_>>().join(",")
}

/// The command that puts the originals back; none of a value is the brokers' default.
pub(super) fn put_back_command(
    cluster: &Cluster,
    topic: &str,
    originals: &BTreeMap<String, Option<String>>,
) -> String {
    alter(&servers(cluster), topic, originals)
}

/// The command that sets one value.
pub(super) fn set_command(cluster: &Cluster, topic: &str, name: &str, value: &str) -> String {
    let change = BTreeMap::from([(name.to_owned(), Some(value.to_owned()))]);
    alter(&servers(cluster), topic, &change)
}

fn alter(servers: &str, topic: &str, values: &BTreeMap<String, Option<String>>) -> String {
    let mut command = format!(
        "kafka-configs.sh --bootstrap-server {servers} --entity-type topics --entity-name {topic} --alter"
    );
    let own = values.iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        // Kafka's tool takes lists in brackets.
        Some(match value.contains(',') {
            true => format!("{name}=[{value}]"),
            false => format!("{name}={value}"),
        })
    });
    let own: Vec<String> = own.collect();
    if !own.is_empty() {
        command.push_str(&format!(" --add-config '{}'", own.join(",")));
    }
    let inherited = values.iter().filter(|(_, value)| value.is_none());
    let inherited: Vec<&str> = inherited.map(|(name, _)| name.as_str()).collect();
    if !inherited.is_empty() {
        command.push_str(&format!(" --delete-config '{}'", inherited.join(",")));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_values_lists_and_defaults() {
        let values = [
            ("cleanup.policy", Some("compact,delete")),
            ("retention.ms", Some("5")),
            ("segment.ms", None),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(
            alter("a:1,b:2", "orders", &values.into()),
            "kafka-configs.sh --bootstrap-server a:1,b:2 --entity-type topics --entity-name orders --alter --add-config \
             'cleanup.policy=[compact,delete],retention.ms=5' --delete-config 'segment.ms'"
        );
    }
}
