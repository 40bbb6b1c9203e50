//! The export file: all rows of a cluster's metadata, as `docs/formats/export.md` has it.
//!
//! ```text
//! floe export 1 … crc32c 0a1b2c3d                   the header: lines of text
//! r | length u32 | rows …                 | crc32c  blocks of about 1 MiB
//! t | length u32 | row count u64, SHA-256 | crc32c  of all rows, and nothing after it
//! ```
//!
//! Written and read in one pass, a block at a time. A file that was cut, or has a bit flipped anywhere, is
//! noticed before its end; what a reader has got by then must have had no effect.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use floe_protocol::checksum::crc32c;
use floe_storage::key::Lineage;
use ring::digest::{Context, SHA256};

use crate::cluster::{Fields, seal};
use crate::engine::Row;

/// The format that is written and the newest that is understood.
const VERSION: u32 = 1;
const FORMAT: &str = "floe export";
/// The newest layout of rows that is understood; each row says its own.
const ROWS_VERSION: u32 = 1;

/// The header is no longer than this.
const HEADER_BYTES_MAX: u64 = 4096;
/// A block is closed when it holds this much.
const BLOCK_BYTES: usize = 1 << 20;
/// One row may be larger than a block; nothing is as large as this.
const BLOCK_BYTES_MAX: u32 = 1 << 30;
const ROWS: u8 = b'r';
const TRAILER: u8 = b't';
const TRAILER_BYTES: usize = 8 + 32;

/// What a file says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The id of the cluster that clients know.
    pub cluster: String,
    /// The life of the cluster.
    pub lineage: Lineage,
    /// The engine the rows come from.
    pub engine: String,
    /// The epoch under which the metadata was owned to export it.
    pub epoch: u64,
    /// Tells that owner.
    pub nonce: [u8; 16],
    /// Commands the state had taken.
    pub revision: u64,
}

/// What the rows of a file are: equal for equal rows, whatever engine they come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    /// How many rows.
    pub rows: u64,
    /// Over all of them in order: lengths, keys and values.
    pub sha256: [u8; 32],
}

/// Why a file is not read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(Arc<io::Error>),
    /// It is another kind of file.
    #[error("is no export of Floe's metadata")]
    NotExport,
    /// A newer release wrote it.
    #[error("has format {found}, this release understands {known}: use a newer one")]
    Newer {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// It ends too early.
    #[error("is cut short: it ends before its checksum")]
    Cut,
    /// A part of it is not what was written.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

impl Header {
    fn encode(&self) -> String {
        let Self {
            cluster,
            lineage,
            engine,
            epoch,
            nonce,
            revision,
        } = self;
        let nonce = Lineage(*nonce);
        seal(format!(
            "{FORMAT} {VERSION}\ncluster {cluster}\nlineage {lineage}\nengine {engine}\nepoch {epoch}\n\
             nonce {nonce}\nrevision {revision}\nrows-version {ROWS_VERSION}\n"
        ))
    }

    fn parse(text: &[u8]) -> Result<Self, FileError> {
        let damaged = FileError::Damaged("its header fails its checksum");
        let fields = Fields::parse(text, FORMAT).ok_or(damaged.clone())?;
        check_version(fields.version, VERSION)?;
        let rows = fields.get("rows-version").and_then(|it| it.parse().ok());
        check_version(rows.ok_or(damaged.clone())?, ROWS_VERSION)?;
        let parsed = || {
            Some(Self {
                cluster: fields.get("cluster")?.to_owned(),
                lineage: Lineage::parse(fields.get("lineage")?)?,
                engine: fields.get("engine")?.to_owned(),
                epoch: fields.get("epoch")?.parse().ok()?,
                nonce: Lineage::parse(fields.get("nonce")?)?.0,
                revision: fields.get("revision")?.parse().ok()?,
            })
        };
        parsed().ok_or(damaged)
    }
}

const fn check_version(found: u32, known: u32) -> Result<(), FileError> {
    if found > known {
        return Err(FileError::Newer { found, known });
    }
    Ok(())
}

/// Sums up rows.
pub(super) struct Sum {
    context: Context,
    rows: u64,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            rows: 0,
        }
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        for length in [key.len(), value.len()] {
            self.context.update(&length_bytes(length));
        }
        self.context.update(key);
        self.context.update(value);
    }

    pub(super) fn finish(self) -> Content {
        let mut sha256 = [0; 32];
        let digest = self.context.finish();
        sha256.copy_from_slice(digest.as_ref());
        Content {
            rows: self.rows,
            sha256,
        }
    }
}

/// Lengths beyond a block's limit are refused when a row is written.
fn length_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Writes a file.
pub(super) struct Writer<W> {
    out: W,
    block: Vec<u8>,
    sum: Sum,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(mut out: W, header: &Header) -> io::Result<Self> {
        out.write_all(header.encode().as_bytes())?;
        Ok(Self {
            out,
            block: Vec::new(),
            sum: Sum::new(),
        })
    }

    /// Adds a row; they come in the order of their keys.
    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let bytes = 8 + key.len() + value.len();
        if u32::try_from(bytes).is_ok_and(|bytes| bytes <= BLOCK_BYTES_MAX) {
            if !self.block.is_empty() && self.block.len() + bytes > BLOCK_BYTES {
                self.close_block()?;
            }
            self.block.extend_from_slice(&length_bytes(key.len()));
            self.block.extend_from_slice(&length_bytes(value.len()));
            self.block.extend_from_slice(key);
            self.block.extend_from_slice(value);
            self.sum.add(key, value);
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "a row of more than 1 GiB",
        ))
    }

    /// Ends the file; it is not yet durable.
    pub(super) fn finish(mut self) -> io::Result<(W, Content)> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        let content = self.sum.finish();
        let trailer = [&content.rows.to_be_bytes()[..], &content.sha256].concat();
        write_block(&mut self.out, TRAILER, &trailer)?;
        self.out.flush()?;
        Ok((self.out, content))
    }

    fn close_block(&mut self) -> io::Result<()> {
        write_block(&mut self.out, ROWS, &self.block)?;
        self.block.clear();
        Ok(())
    }
}

fn write_block(out: &mut impl Write, kind: u8, content: &[u8]) -> io::Result<()> {
    let mut block = Vec::with_capacity(content.len() + 9);
    block.push(kind);
    block.extend_from_slice(&length_bytes(content.len()));
    block.extend_from_slice(content);
    let crc = crc32c(&block);
    block.extend_from_slice(&crc.to_be_bytes());
    out.write_all(&block)
}

/// Reads a file.
pub(super) struct Reader<R> {
    input: R,
    sum: Sum,
    last: Option<Bytes>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub(super) fn open(mut input: R) -> Result<(Header, Self), FileError> {
        let text = read_header(&mut input)?;
        let header = Header::parse(&text)?;
        let reader = Self {
            input,
            sum: Sum::new(),
            last: None,
        };
        Ok((header, reader))
    }

    /// The rows of the next block, or at the end, which has been checked then, what all of them are.
    pub(super) fn next(&mut self) -> Result<Block, FileError> {
        let (kind, content) = self.read_block()?;
        match kind {
            ROWS => self.rows(content).map(Block::Rows),
            TRAILER => self.trailer(&content).map(Block::End),
            _ => Err(FileError::Damaged("a block is of no known kind")),
        }
    }

    fn read_block(&mut self) -> Result<(u8, Bytes), FileError> {
        let mut head = [0; 5];
        self.input.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length);
        if length > BLOCK_BYTES_MAX {
            return Err(FileError::Damaged("a block's length is impossible"));
        }
        // Grows with what is there, not with what the length says.
        let mut block = head.to_vec();
        let wanted = u64::from(length);
        let read = (&mut self.input).take(wanted).read_to_end(&mut block)? as u64;
        let mut crc = [0; 4];
        self.input.read_exact(&mut crc)?;
        if read != wanted || crc32c(&block).to_be_bytes() != crc {
            return Err(FileError::Damaged("a block fails its checksum"));
        }
        Ok((kind, Bytes::from(block).split_off(head.len())))
    }

    fn rows(&mut self, mut content: Bytes) -> Result<Vec<Row>, FileError> {
        const MALFORMED: FileError = FileError::Damaged("a block's rows do not fill it");
        let mut rows = Vec::new();
        while content.has_remaining() {
            let lengths = (content.try_get_u32(), content.try_get_u32());
            let (Ok(key_bytes), Ok(value_bytes)) = lengths else {
                return Err(MALFORMED);
            };
            let mut take = |bytes: u32| {
                let bytes = usize::try_from(bytes).ok()?;
                (bytes <= content.len()).then(|| content.split_to(bytes))
            };
            let (Some(key), Some(value)) = (take(key_bytes), take(value_bytes)) else {
                return Err(MALFORMED);
            };
            if self.last.as_ref().is_some_and(|last| *last >= key) {
                return Err(FileError::Damaged("its rows are out of order"));
            }
            self.sum.add(&key, &value);
            self.last = Some(key.clone());
            rows.push((key, value));
        }
        Ok(rows)
    }

    fn trailer(&mut self, trailer: &[u8]) -> Result<Content, FileError> {
        let found = std::mem::replace(&mut self.sum, Sum::new()).finish();
        let expected = [&found.rows.to_be_bytes()[..], &found.sha256].concat();
        if trailer.len() != TRAILER_BYTES || *trailer != expected {
            return Err(FileError::Damaged("its rows fail the checksum over all"));
        }
        if self.input.read(&mut [0])? > 0 {
            return Err(FileError::Damaged("something follows its end"));
        }
        Ok(found)
    }
}

/// A part of a file.
pub(super) enum Block {
    /// Some rows.
    Rows(Vec<Row>),
    /// The end.
    End(Content),
}

/// The lines up to and with their checksum.
fn read_header(input: &mut impl Read) -> Result<Vec<u8>, FileError> {
    let mut input = input.take(HEADER_BYTES_MAX);
    let (mut text, mut line) = (Vec::new(), 0);
    loop {
        let mut byte = [0];
        if input.read(&mut byte)? == 0 {
            let is_ours = text.starts_with(FORMAT.as_bytes()) && text.len() < 4096;
            return Err(if is_ours {
                FileError::Cut
            } else {
                FileError::NotExport
            });
        }
        text.extend_from_slice(&byte);
        if byte == *b"\n" {
            let ended = text.get(line..).unwrap_or_default();
            if ended.starts_with(b"crc32c ") {
                break;
            }
            line = text.len();
        }
    }
    if !text.starts_with(FORMAT.as_bytes()) {
        return Err(FileError::NotExport);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
