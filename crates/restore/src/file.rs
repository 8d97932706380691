//! Small files that are there whole or not at all.

use std::io::Write;
use std::path::Path;

/// Writes a file under another name beside it first, and gives it its name when it is whole and on the disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let mut file = std::fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&part, path)
}
