//! Any bytes as a json object: no panic, bounded memory, the same records however the object is cut in chunks.
#![no_main]

use backup::format::Format;
use kafka_restore_fuzz::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| decode(Format::Json, None, data));
