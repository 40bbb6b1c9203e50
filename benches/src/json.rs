//! Results as JSON files.

use std::path::Path;

use serde::Serialize;

/// Writes `value` to `path`, readable.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    std::fs::write(path, text)
}
