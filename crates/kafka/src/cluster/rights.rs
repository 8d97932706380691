//! What this user may do, as brokers tell it.

/// An operation on a topic, a group or the cluster.
///
/// Source: `org.apache.kafka.common.acl.AclOperation`; the numbers are its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Operation {
    /// Reading records, committing offsets.
    Read = 3,
    /// Producing.
    Write = 4,
    /// Creating topics.
    Create = 5,
    /// Deleting the topic, and DeleteRecords.
    Delete = 6,
    /// Changing it; on the cluster also WriteTxnMarkers.
    Alter = 7,
    /// Seeing it.
    Describe = 8,
    /// What brokers do among themselves.
    ClusterAction = 9,
    /// Seeing its configuration.
    DescribeConfigs = 10,
    /// Changing its configuration.
    AlterConfigs = 11,
    /// Getting producer ids.
    IdempotentWrite = 12,
}

/// The operations that this user may do (KIP-430).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    bits: i32,
}

impl Rights {
    /// `None` where the broker did not say: the field's default stands for that.
    pub(crate) fn from_bits(bits: i32) -> Option<Self> {
        (bits != i32::MIN).then_some(Self { bits })
    }

    /// Whether the broker would let this user do it. Without an authorizer, everything.
    pub fn allow(&self, operation: Operation) -> bool {
        self.bits >> (operation as u8) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_the_operation_of_its_number() {
        let rights = Rights::from_bits(1 << 4 | 1 << 8).unwrap();
        assert!(rights.allow(Operation::Write) && rights.allow(Operation::Describe));
        assert!(!rights.allow(Operation::Read) && !rights.allow(Operation::IdempotentWrite));
        assert_eq!(Rights::from_bits(i32::MIN), None);
    }
}
