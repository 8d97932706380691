//! One visit of an object to the CPU pool: bytes in, a block out.
//!
//! Bytes of a bucket come with the visit. A file is read here, chunk by chunk, by the thread that decodes it: what was
//! read is then still in that core's cache, and no other thread has to be woken for it. Where the consumer packs records, they
//! are packed here, too.

use std::time::{Duration, Instant};

use record::RecordBlock;

use super::block::{Facts, examine};
use super::fetch::Piece;
use super::packing::{ObjectPacking, Packed};
use super::recognition::Recognition;
use crate::format::{Notes, ObjectDecoder, ObjectError, Rejected, Status};
use crate::storage::local::{LocalStore, OpenFile};
use crate::storage::{ObjectMeta, StorageError};

/// What moves between an object's task and the CPU pool.
pub(super) struct Work {
    pub(super) decoder: ObjectDecoder,
    pub(super) block: RecordBlock,
    pub(super) recognition: Recognition,
    /// Where the records are packed: `block` has those that are not packed yet.
    pub(super) packing: Option<ObjectPacking>,
    /// Where the bytes come from, if not with the visit.
    pub(super) file: Option<FileInput>,
}

/// What one visit gave.
pub(super) struct Outcome {
    pub(super) status: Result<Status, ObjectError>,
    /// Why the file could not be read on; the status says nothing then.
    pub(super) unread: Option<StorageError>,
    pub(super) rejected: Option<Rejected>,
    /// A pack; its records come before those of the block.
    pub(super) packed: Option<(Packed, Facts)>,
    /// Of the block, where it is to be handed on.
    pub(super) facts: Option<Facts>,
    /// False where an object that is read again does not begin as before.
    pub(super) same: bool,
    pub(super) notes: Option<Notes>,
    /// Time spent on unwrapping and decoding; reading and packing are not in it.
    pub(super) took: Duration,
    /// Of that, in containers.
    pub(super) unwrapping: Duration,
    /// Time spent on reading the file.
    pub(super) reading: Duration,
}

/// A file as the source of a decoder's bytes, opened with the first visit.
pub(super) struct FileInput {
    folder: LocalStore,
    key: String,
    open: Option<OpenFile>,
}

impl FileInput {
    pub(super) fn new(folder: LocalStore, key: String) -> Self {
        Self {
            folder,
            key,
            open: None,
        }
    }

    /// What the file was when it was opened; nothing before.
    pub(super) fn meta(&self) -> Option<&ObjectMeta> {
        self.open.as_ref().map(OpenFile::meta)
    }

    /// Gives the decoder the next bytes, or the end.
    fn feed(&mut self, decoder: &mut ObjectDecoder) -> Result<(), StorageError> {
        let file = match &mut self.open {
            Some(file) => file,
            closed => closed.insert(self.folder.open(&self.key)?),
        };
        let bytes = file.read()?;
        if !bytes.is_empty() {
            decoder.push(bytes);
        }
        if file.has_ended() {
            decoder.end_of_input();
        }
        Ok(())
    }
}

impl Work {
    /// Decodes until the block is full, more bytes are needed or the object ends.
    pub(super) fn visit(mut self, piece: Option<Piece>, ended: bool, block_bytes: usize) -> (Self, Outcome) {
        let (started, unwrapped_before) = (Instant::now(), self.decoder.unwrapping());
        for chunk in piece.into_iter().flat_map(|piece| piece.chunks) {
            self.decoder.push(chunk);
        }
        if ended {
            self.decoder.end_of_input();
        }
        let (mut reading, mut unread) = (Duration::ZERO, None);
        let (status, look) = loop {
            let most = self.packing.as_ref().map_or(block_bytes, ObjectPacking::at_once);
            let status = self.decoder.decode(&mut self.block, most);
            if matches!(status, Ok(Status::NeedInput)) {
                let Some(file) = &mut self.file else {
                    break (status, Look::default());
                };
                let asked = Instant::now();
                unread = file.feed(&mut self.decoder).err();
                reading += asked.elapsed();
                if unread.is_some() {
                    break (status, Look::default());
                }
            } else {
                let look = self.look(&status);
                if !look.goes_on {
                    break (status, look);
                }
            }
        };
        let rejected = match &status {
            Err(error) if error.can_skip => self.decoder.resume_after_error(),
            _ => None,
        };
        let notes = is_over(&status).then(|| self.decoder.notes());
        let unwrapping = self.decoder.unwrapping() - unwrapped_before;
        let packing = self.packing.as_mut().map_or(Duration::ZERO, ObjectPacking::took);
        if look.facts.is_some() {
            // What is not packed by now goes on as blocks.
            self.packing = None;
        }
        let outcome = Outcome {
            status,
            unread,
            rejected,
            packed: look.packed,
            facts: look.facts,
            same: !look.differs,
            notes,
            took: started.elapsed().saturating_sub(reading + packing),
            unwrapping,
            reading,
        };
        (self, outcome)
    }

    /// Looks at what was decoded, and packs it where that is done.
    fn look(&mut self, status: &Result<Status, ObjectError>) -> Look {
        let same = self.recognition.pass(&mut self.block, is_over(status));
        let facts = examine(&mut self.block);
        let mut look = Look {
            differs: !same,
            facts,
            ..Look::default()
        };
        if let Some(packing) = self.packing.as_mut().filter(|_| same) {
            if look
                .facts
                .is_some_and(|facts| packing.add(&mut self.block, &facts))
            {
                look.facts = None;
            }
            let has_room = look.facts.is_none() && !packing.is_full();
            look.goes_on = has_room && matches!(status, Ok(Status::BlockReady));
            if !look.goes_on {
                look.packed = packing.finish();
            }
        }
        look
    }
}

/// What was seen of decoded records.
#[derive(Default)]
struct Look {
    packed: Option<(Packed, Facts)>,
    facts: Option<Facts>,
    /// The object is read again and does not begin as before.
    differs: bool,
    /// Everything is in a pack that is not full yet.
    goes_on: bool,
}

/// True where nothing comes behind this.
fn is_over(status: &Result<Status, ObjectError>) -> bool {
    match status {
        Ok(status) => *status == Status::Finished,
        Err(_) => true,
    }
}
