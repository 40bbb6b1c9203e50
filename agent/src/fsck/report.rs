//! What a check found, in words.

use std::fmt;

use object_store::path::Path;

/// An object that is not as metadata says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Its key.
    pub path: Path,
    /// It is not there at all.
    pub is_missing: bool,
    /// What is wrong with it, one line each.
    pub faults: Vec<String>,
}

/// An object that nobody needs, and that should have been deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leftover {
    /// Its key.
    pub path: Path,
    /// Its bytes.
    pub size_bytes: u64,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Objects that logs lead to and that were looked at.
    pub objects: usize,
    /// Their bytes, as metadata says.
    pub bytes: u64,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
    /// Objects that logs led to no more when a second look was taken; nothing is wrong with that.
    pub moved_on: usize,
    /// Dead objects that wait to be deleted.
    pub dead: usize,
    /// Objects that nobody needs and that are older than they may be.
    pub leftovers: Vec<Leftover>,
    /// Objects that nobody needs and that may still be there.
    pub young: usize,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.leftovers.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding {
            path,
            is_missing,
            faults,
        } in &self.findings
        {
            if *is_missing {
                writeln!(f, "MISSING            {path}")?;
            }
            for fault in faults {
                writeln!(f, "DAMAGED            {path}: {fault}")?;
            }
        }
        for Leftover { path, size_bytes } in &self.leftovers {
            writeln!(f, "ORPHAN             {path}: {size_bytes} bytes")?;
        }
        let missing = self.findings.iter().filter(|it| it.is_missing).count();
        let damaged = self.findings.len() - missing;
        writeln!(
            f,
            "objects            {}, with {} bytes: {missing} missing, {damaged} damaged",
            self.objects, self.bytes
        )?;
        if self.moved_on > 0 {
            let moved = self.moved_on;
            writeln!(f, "replaced meanwhile {moved}")?;
        }
        writeln!(f, "dead               {}, to be deleted", self.dead)?;
        writeln!(
            f,
            "orphans            {} too old, {} that may still be there",
            self.leftovers.len(),
            self.young
        )?;
        f.write_str(if self.is_clean() {
            "clean\n"
        } else {
            "NOT CLEAN\n"
        })
    }
}
