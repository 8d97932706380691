//! Decoding answers without trusting the counts in them.
//!
//! `kafka-protocol` makes room for as many elements as an array says it has before it reads the first, so four bytes could
//! ask for hundreds of gigabytes. [`Bounded`] stands between it and the bytes, and refuses counts that the rest of the
//! answer cannot hold.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::buf::ByteBuf;
use kafka_protocol::protocol::{Decodable, Request};

use crate::error::KafkaError;

/// In versions before the flexible ones a count looks like any other `int32`. No field of an answer that is a number goes
/// beyond this (times are milliseconds, throttling ends within minutes).
const MAX_OLD_COUNT: usize = 10_000_000;

/// Decodes the body of an answer to `R` in this version, as
/// [`Connection::submit_frame`](super::Connection::submit_frame) gives it.
pub fn decode_response<R: Request>(body: Bytes, version: i16, addr: &str) -> Result<R::Response, KafkaError> {
    decode(body, version, is_flexible(R::KEY, version), addr)
}

/// Whether this version of a request and its answer has compact arrays (KIP-482).
pub(super) fn is_flexible(api_key: i16, version: i16) -> bool {
    ApiKey::try_from(api_key).is_ok_and(|api| api.request_header_version(version) >= 2)
}

pub(super) fn decode<T: Decodable>(
    body: Bytes,
    version: i16,
    flexible: bool,
    addr: &str,
) -> Result<T, KafkaError> {
    let mut bounded = Bounded {
        rest: body,
        flexible,
        count: 0,
        shift: 0,
    };
    T::decode(&mut bounded, version).map_err(|error| KafkaError::protocol(addr, format!("{error:#}")))
}

struct Bounded {
    rest: Bytes,
    flexible: bool,
    /// The variable-length number that is being read, so far. In flexible versions all of them are counts and lengths.
    count: u64,
    shift: u32,
}

impl Bounded {
    fn restart(&mut self) {
        self.count = 0;
        self.shift = 0;
    }

    fn refuse(&self, requested: u64) -> TryGetError {
        TryGetError {
            requested: usize::try_from(requested).unwrap_or(usize::MAX),
            available: self.rest.len(),
        }
    }
}

impl Buf for Bounded {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    fn advance(&mut self, count: usize) {
        self.restart();
        self.rest.advance(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.restart();
        self.rest.copy_to_bytes(length)
    }

    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.rest.try_get_u8()?;
        self.count |= u64::from(byte & 0x7f) << self.shift;
        // Counts and lengths are stored plus one.
        if self.flexible && self.count > self.rest.len() as u64 + 1 {
            return Err(self.refuse(self.count));
        }
        match byte & 0x80 {
            0 => self.restart(),
            // A number has five bytes at most.
            _ if self.shift >= 28 => self.restart(),
            _ => self.shift += 7,
        }
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        self.restart();
        let number = self.rest.try_get_i32()?;
        let limit = self.rest.len().max(MAX_OLD_COUNT);
        match usize::try_from(number) {
            Ok(count) if !self.flexible && count > limit => Err(self.refuse(count as u64)),
            _ => Ok(number),
        }
    }
}

impl ByteBuf for Bounded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.rest.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.restart();
        self.rest.split_to(size)
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
    use kafka_protocol::messages::{
        ApiVersionsRequest, CreateTopicsRequest, DescribeConfigsRequest, FetchRequest, ListOffsetsRequest,
        MetadataRequest, MetadataResponse, OffsetDeleteRequest, ProduceRequest, SaslHandshakeRequest,
    };
    use kafka_protocol::protocol::{Encodable, Message, StrBytes};
    use proptest::prelude::*;

    use super::*;

    fn attempt<R: Request>(body: &Bytes) {
        for version in R::Response::VERSIONS.min..=R::Response::VERSIONS.max {
            let _ = decode_response::<R>(body.clone(), version, "b");
        }
    }

    #[test]
    fn counts_beyond_the_rest_are_refused() {
        // Five bytes of compact count, and an int32 count.
        for body in [
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[0, 0, 0x7f, 0xff, 0xff, 0xff],
        ] {
            attempt::<ApiVersionsRequest>(&Bytes::copy_from_slice(body));
            attempt::<SaslHandshakeRequest>(&Bytes::copy_from_slice(body));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(
            prop_oneof![Just(0_u8), Just(1), Just(0xff), Just(0x7f), any::<u8>()], 0..80,
        )) {
            let body = Bytes::from(bytes);
            attempt::<ApiVersionsRequest>(&body);
            attempt::<SaslHandshakeRequest>(&body);
            attempt::<MetadataRequest>(&body);
            attempt::<ProduceRequest>(&body);
            attempt::<FetchRequest>(&body);
            attempt::<ListOffsetsRequest>(&body);
            attempt::<CreateTopicsRequest>(&body);
            attempt::<DescribeConfigsRequest>(&body);
            attempt::<OffsetDeleteRequest>(&body);
        }

        #[test]
        fn what_was_encoded_comes_back(
            hosts in proptest::collection::vec("[a-z]{0,300}", 0..40),
            topics in proptest::collection::vec(("[a-z]{1,20}", any::<i32>(), any::<bool>()), 0..200),
            throttle in 0..=10_000_000,
        ) {
            let response = MetadataResponse::default()
                .with_throttle_time_ms(throttle)
                .with_brokers(hosts.iter().enumerate().map(|(id, host)| {
                    MetadataResponseBroker::default()
                        .with_node_id((id as i32).into())
                        .with_host(StrBytes::from_string(host.clone()))
                }).collect())
                .with_topics(topics.iter().map(|(name, rights, internal)| {
                    MetadataResponseTopic::default()
                        .with_name(Some(StrBytes::from_string(name.clone()).into()))
                        .with_is_internal(*internal)
                        .with_topic_authorized_operations(*rights % 10_000_000)
                }).collect());
            for version in [8, 9, 10] {
                let mut body = BytesMut::new();
                response.encode(&mut body, version).unwrap();
                let decoded = decode_response::<MetadataRequest>(body.freeze(), version, "b").unwrap();
                prop_assert_eq!(&decoded, &response);
            }
        }
    }
}
