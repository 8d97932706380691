//! The compact protocol of Apache Thrift, as far as walking over it takes. Nothing is allocated.
//!
//! Source: "Thrift Compact protocol encoding" of Apache Thrift.

/// How deep structures may be nested: Parquet's own are at 6.
const MAX_DEPTH: usize = 16;

/// Reads from the front of its bytes; nothing where they are damaged.
pub(super) struct Reader<'a> {
    pub(super) data: &'a [u8],
}

/// Thrift's names for what follows a field's header.
pub(super) mod kind {
    pub(in super::super) const TRUE: u8 = 1;
    pub(in super::super) const FALSE: u8 = 2;
    pub(in super::super) const BYTE: u8 = 3;
    pub(in super::super) const I16: u8 = 4;
    pub(in super::super) const I32: u8 = 5;
    pub(in super::super) const I64: u8 = 6;
    pub(in super::super) const DOUBLE: u8 = 7;
    pub(in super::super) const BINARY: u8 = 8;
    pub(in super::super) const LIST: u8 = 9;
    pub(in super::super) const SET: u8 = 10;
    pub(in super::super) const MAP: u8 = 11;
    pub(in super::super) const STRUCT: u8 = 12;
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.data.split_first()?;
        self.data = rest;
        Some(*byte)
    }

    fn take(&mut self, length: u64) -> Option<()> {
        self.data = self.data.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn number(&mut self) -> Option<i64> {
        let number = self.unsigned()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The next field's kind, with its number in `id`; `Some(None)` at the end of the structure.
    pub(super) fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        let step = i64::from(byte >> 4);
        *id = if step == 0 {
            self.number()?
        } else {
            id.checked_add(step)?
        };
        Some(Some(byte & 0x0f))
    }

    pub(super) fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            kind::TRUE | kind::FALSE => {}
            kind::BYTE => self.take(1)?,
            kind::I16 | kind::I32 | kind::I64 => {
                self.unsigned()?;
            }
            kind::DOUBLE => self.take(8)?,
            kind::BINARY => {
                let length = self.unsigned()?;
                self.take(length)?;
            }
            kind::LIST | kind::SET => {
                let (kind, size) = self.list()?;
                for _ in 0..size {
                    self.item(kind, depth)?;
                }
            }
            kind::MAP => {
                let size = self.unsigned()?;
                if size > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..size {
                        self.item(kinds >> 4, depth)?;
                        self.item(kinds & 0x0f, depth)?;
                    }
                }
            }
            kind::STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// The kind and the number of a list's items.
    pub(super) fn list(&mut self) -> Option<(u8, u64)> {
        let byte = self.byte()?;
        let size = match byte >> 4 {
            15 => self.unsigned()?,
            size => u64::from(size),
        };
        Some((byte & 0x0f, size))
    }

    /// In lists a truth value has a byte of its own.
    fn item(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            kind::TRUE | kind::FALSE => self.take(1),
            kind => self.skip(kind, depth + 1),
        }
    }
}
