//! One partition's records: ordered, de-duplicated, gap-aware, bounded in memory.
