//! Which version of each request both sides speak.

use std::collections::HashMap;

use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
use kafka_protocol::protocol::{Request, VersionRange};

use crate::error::KafkaError;

/// The ranges of a broker's ApiVersions answer.
#[derive(Debug, Default)]
pub(super) struct Versions {
    offered: HashMap<i16, VersionRange>,
}

/// The highest version that this crate uses, where a later one means something else than the code is written for.
///
/// - Produce 13 and Fetch 13 name topics by id; OffsetCommit and OffsetFetch 10 too.
/// - AddPartitionsToTxn 4 is for brokers only (it asks for ClusterAction); EndTxn 5 changes the producer's epoch with
///   every transaction (KIP-890), and InitProducerId and TxnOffsetCommit go with it.
fn highest_used(api_key: i16) -> i16 {
    match ApiKey::try_from(api_key) {
        Ok(ApiKey::Produce | ApiKey::Fetch) => 12,
        Ok(ApiKey::OffsetCommit | ApiKey::OffsetFetch) => 9,
        Ok(ApiKey::AddPartitionsToTxn) => 3,
        Ok(ApiKey::EndTxn | ApiKey::TxnOffsetCommit) => 4,
        _ => i16::MAX,
    }
}

impl Versions {
    pub(super) fn new(response: &ApiVersionsResponse) -> Self {
        Self {
            offered: response
                .api_keys
                .iter()
                .map(|api| {
                    let range = VersionRange {
                        min: api.min_version,
                        max: api.max_version,
                    };
                    (api.api_key, range)
                })
                .collect(),
        }
    }

    /// The versions of a request that both sides speak.
    pub(super) fn common(&self, api_key: i16) -> Option<(i16, i16)> {
        let spoken = ApiKey::try_from(api_key).ok()?.valid_versions();
        self.within(api_key, spoken)
    }

    /// The highest version of `R` that both sides speak.
    pub(super) fn choose<R: Request>(&self, addr: &str) -> Result<i16, KafkaError> {
        if let Some((_, max)) = self.within(R::KEY, R::VERSIONS) {
            return Ok(max);
        }
        let text = |range: &VersionRange| format!("versions {} to {}", range.min, range.max);
        Err(KafkaError::UnsupportedVersion {
            addr: addr.to_owned(),
            api: ApiKey::try_from(R::KEY)
                .map_or_else(|()| format!("request {}", R::KEY), |api| format!("{api:?}")),
            offered: self
                .offered
                .get(&R::KEY)
                .map_or_else(|| "nothing".to_owned(), text),
            spoken: text(&R::VERSIONS),
        })
    }

    fn within(&self, api_key: i16, spoken: VersionRange) -> Option<(i16, i16)> {
        let offered = self.offered.get(&api_key)?;
        let common = offered.intersect(&VersionRange {
            min: spoken.min,
            max: spoken.max.min(highest_used(api_key)),
        });
        (!common.is_empty()).then_some((common.min, common.max))
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{DescribeClusterRequest, ListOffsetsRequest, ProduceRequest};

    use super::*;

    fn versions(ranges: &[(ApiKey, i16, i16)]) -> Versions {
        Versions::new(
            &ApiVersionsResponse::default().with_api_keys(
                ranges
                    .iter()
                    .map(|(api, min, max)| {
                        ApiVersion::default()
                            .with_api_key(*api as i16)
                            .with_min_version(*min)
                            .with_max_version(*max)
                    })
                    .collect(),
            ),
        )
    }

    #[test]
    fn the_highest_common_version_is_chosen_within_what_is_used() {
        let versions = versions(&[
            (ApiKey::ListOffsets, 1, 5),
            (ApiKey::Produce, 0, 99),
            (ApiKey::DescribeCluster, 50, 60),
        ]);
        assert_eq!(versions.choose::<ListOffsetsRequest>("b"), Ok(5));
        assert_eq!(versions.choose::<ProduceRequest>("b"), Ok(12));
        assert_eq!(versions.common(ApiKey::Produce as i16), Some((3, 12)));
        assert_eq!(versions.common(ApiKey::Fetch as i16), None);
        let error = versions.choose::<DescribeClusterRequest>("b:9092").unwrap_err();
        assert_eq!(
            error.to_string(),
            "b:9092 cannot do DescribeCluster: it offers versions 50 to 60, and this program speaks versions 0 to 2"
        );
    }
}
