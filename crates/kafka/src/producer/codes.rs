//! What each error code of a Produce or WriteTxnMarkers answer says about the batch.
//!
//! Sources: the protocol's list of codes, what Apache Kafka's broker does before and after it appends, and runs
//! against real brokers.

/// What an error code says about a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Surely not appended; the same may work later, perhaps at another broker.
    Refused,
    /// Perhaps appended; the log end tells.
    Unknown,
    /// As `Unknown`, but where it comes back for the same batch, waiting does not help.
    Limited,
    /// Not appended, and never will be.
    Final,
}

/// What `code` (not 0) says.
pub(super) fn classify(code: i16) -> Class {
    match code {
        // No leader yet, broker or replica not there, coordinators, not enough replicas (before the append), leader
        // epochs and metadata behind, quota.
        5 | 8 | 9 | 11 | 14 | 15 | 16 | 19 | 72 | 74 | 75 | 89 | 100 | 103 => Class::Refused,
        // Unknown partition and not the leader: usually said before the append (new topics, moved leaders), but also
        // where the leader moved while the batch, already in its log, waited for the followers. Timed out waiting for
        // them, network, not enough replicas after the append, disk failed while appending.
        3 | 6 | 7 | 13 | 20 | 56 => Class::Unknown,
        // The broker failed in a way it has no code for; damaged on the way; timestamp outside of the limits or no key
        // on a compacted topic (both of which were lifted a moment ago, and brokers follow a change of configuration a
        // little later); sequence does not follow (a dead program's batch may have come before) or is an old one;
        // producer unknown.
        -1 | 2 | 32 | 45 | 46 | 59 | 87 => Class::Limited,
        // Everything else that this version knows is a refusal for good; a code that it does not know may be anything.
        1..=133 => Class::Final,
        _ => Class::Limited,
    }
}

/// What a person can do about `code`.
pub(super) fn advice(code: i16) -> &'static str {
    match code {
        -1 => "the broker failed and does not say why: its own log does",
        2 => {
            "the batch arrived damaged several times: look for a proxy or a network device that changes bytes"
        }
        3 | 100 | 103 => "the topic or the partition does not exist (any more)",
        10 | 18 => {
            "the batch is larger than the topic allows: raise the topic's max.message.bytes, and keep its \
             compression.type at `producer` so that the broker does not make the batch larger"
        }
        17 => "the topic's name is not allowed",
        21 => "the broker does not allow acks=all, which no broker should refuse",
        29 => "grant the user Write on the topic",
        31 => "grant the user IdempotentWrite (or Alter, for offsets without records) on the cluster",
        32 => {
            "a record's timestamp is outside of what the topic allows: set the topic's \
             message.timestamp.before.max.ms and message.timestamp.after.max.ms to 9223372036854775807 while restoring"
        }
        33 | 34 | 54 | 58 => "authentication does not hold: look at the user's settings",
        35 | 43 => {
            "the broker or the topic uses an old message format: set the topic's message.format.version to 0.11 or later"
        }
        40 | 42 => {
            "the broker does not accept the request; it may not be a Kafka broker of version 2.8 or later"
        }
        44 => "a policy of the brokers forbids it",
        45 => {
            "the broker remembers other batches of this producer id: another run of this program is writing, or one \
             that was stopped wrote late"
        }
        46 => "the broker says that it has this batch already, and its log end says that it has not",
        47 | 90 => "a newer run of this program has taken over",
        48 | 49 | 51 | 53 => "the producer id is in use by a transaction: run again, with a new producer id",
        52 => "a transaction coordinator has used this producer id: run again, with a new producer id",
        59 => "the broker does not know the producer id: run again, with a new producer id",
        76 => "the broker does not know the compression: choose another one",
        87 => {
            "the broker finds a record invalid: on a compacted topic every record needs a key (restore with \
             cleanup.policy=delete and switch afterwards)"
        }
        _ => "see the broker's own log for the reason",
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::error::ResponseError;

    use super::*;

    #[test]
    fn every_code_is_what_brokers_mean_by_it() {
        let refused = [5, 8, 9, 11, 14, 15, 16, 19, 72, 74, 75, 89, 100, 103];
        let unknown = [3, 6, 7, 13, 20, 56];
        let limited = [-1, 2, 32, 45, 46, 59, 87];
        for code in -1..=133_i16 {
            if code == 0 {
                continue;
            }
            let expected = if refused.contains(&code) {
                Class::Refused
            } else if unknown.contains(&code) {
                Class::Unknown
            } else if limited.contains(&code) {
                Class::Limited
            } else {
                Class::Final
            };
            assert_eq!(classify(code), expected, "{code}");
            assert!(!advice(code).is_empty());
        }
        // The ones that a restore meets, by name, so that a slip in both lists is seen.
        assert_eq!(
            classify(6),
            Class::Unknown,
            "NOT_LEADER_OR_FOLLOWER, also after the append"
        );
        assert_eq!(
            classify(7),
            Class::Unknown,
            "REQUEST_TIMED_OUT: the batch is in the log"
        );
        assert_eq!(classify(19), Class::Refused, "NOT_ENOUGH_REPLICAS");
        assert_eq!(classify(20), Class::Unknown, "NOT_ENOUGH_REPLICAS_AFTER_APPEND");
        for code in [10, 18, 21, 29, 31, 35, 43, 44, 47, 48, 53, 76, 90] {
            assert_eq!(classify(code), Class::Final, "{code}");
            assert_ne!(advice(code), advice(999), "{code} has advice of its own");
        }
        for code in [134, 999, -2, i16::MIN, i16::MAX] {
            assert_eq!(
                classify(code),
                Class::Limited,
                "{code}: not known to this version"
            );
        }
    }

    /// Codes for which Kafka's own clients try again are never final here, but for those about other requests.
    #[test]
    fn what_kafka_calls_retriable_is_tried_again() {
        let of_other_requests = [
            // Controllers, elections, fetch sessions, group and transaction coordinators, share groups, snapshots.
            41, 80, 51, 70, 71, 78, 83, 84, 88, 98, 99, 106, 112, 118, 121, 122, 123, 124, 125, 129, 131, 132,
            133,
        ];
        let wrong: Vec<i16> = (1..=133)
            .filter(|code| ResponseError::try_from_code(*code).is_some_and(|error| error.is_retriable()))
            .filter(|code| !of_other_requests.contains(code) && classify(*code) == Class::Final)
            .collect();
        assert_eq!(wrong, [0_i16; 0]);
    }
}
