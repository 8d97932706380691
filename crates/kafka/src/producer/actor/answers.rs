//! From answers (or none) to outcomes of each partition's operation.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::messages::{ProduceResponse, WriteTxnMarkersResponse};
use kafka_protocol::protocol::Decodable;

use super::super::Operation;
use super::super::machine::Outcome;
use super::{Actor, Answered, Sent};
use crate::error::KafkaError;

impl Actor {
    pub(super) fn produced(&mut self, answered: Answered<Bytes>) {
        let result = answered.result.and_then(|mut body| {
            ProduceResponse::decode(&mut body, answered.version)
                .map_err(|error| KafkaError::protocol("the broker", format!("Produce: {error:#}")))
        });
        let mut outcomes: HashMap<(String, i32), Outcome> = HashMap::new();
        let mut throttle = 0;
        let no_answer = match result {
            Ok(response) => {
                throttle = response.throttle_time_ms;
                for topic in response.responses {
                    for answer in topic.partition_responses {
                        let outcome = match answer.error_code {
                            0 => Outcome::Landed(Some(answer.base_offset)),
                            code => {
                                let of_record = answer.record_errors.into_iter().find_map(|error| {
                                    error.batch_index_error_message.map(|text| {
                                        format!("record {} of the batch: {text}", error.batch_index)
                                    })
                                });
                                let message = answer.error_message.map(|text| text.to_string());
                                Outcome::Code(code, of_record.or(message))
                            }
                        };
                        outcomes.insert((topic.name.to_string(), answer.index), outcome);
                    }
                }
                "the broker's answer does not mention the partition".to_owned()
            }
            Err(error) => {
                self.drop_link(answered.link, answered.generation);
                error.to_string()
            }
        };
        self.answered(answered.link, answered.generation, throttle);
        for Sent {
            handle,
            partition,
            base,
        } in answered.sent
        {
            let key = (partition.topic.to_string(), partition.partition);
            let outcome = outcomes
                .remove(&key)
                .unwrap_or_else(|| Outcome::NoAnswer(no_answer.clone()));
            let bytes = self.resolve(handle, base, outcome);
            self.broker(answered.link.0).search.confirmed(bytes);
        }
    }

    pub(super) fn marked(&mut self, answered: Answered<WriteTxnMarkersResponse>) {
        let mut codes: HashMap<(String, i32), i16> = HashMap::new();
        let no_answer = match answered.result {
            Ok(response) => {
                for topic in response.markers.into_iter().flat_map(|marker| marker.topics) {
                    for answer in topic.partitions {
                        let code = codes
                            .entry((topic.name.to_string(), answer.partition_index))
                            .or_default();
                        if *code == 0 {
                            *code = answer.error_code;
                        }
                    }
                }
                "the broker's answer does not mention the partition".to_owned()
            }
            Err(error) => {
                self.drop_link(answered.link, answered.generation);
                error.to_string()
            }
        };
        self.answered(answered.link, answered.generation, 0);
        for Sent {
            handle,
            partition,
            base,
        } in answered.sent
        {
            let outcome = match codes.get(&(partition.topic.to_string(), partition.partition)) {
                Some(0) => Outcome::Landed(None),
                Some(code) => Outcome::Code(*code, None),
                None => Outcome::NoAnswer(no_answer.clone()),
            };
            self.resolve(handle, base, outcome);
        }
    }

    /// Gives the bytes of the batches that this confirmed.
    fn resolve(&mut self, handle: u64, base: i64, outcome: Outcome) -> u64 {
        let Some(partition) = self.partitions.get_mut(&handle) else {
            return 0;
        };
        let mut confirmed = Vec::new();
        partition.machine.resolve(base, outcome, &mut confirmed);
        let bytes = confirmed.iter().map(|item| match &item.payload.operation {
            Operation::Batch(batch) => batch.encoded_bytes() as u64,
            Operation::Gap { .. } => 0,
        });
        let bytes = bytes.sum();
        partition.confirmed(confirmed);
        bytes
    }
}
