//! Where a store is, as a user writes it: `file:PATH`, `s3://bucket[/prefix]`, `memory:`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path;

/// What a user is told is possible.
const SUPPORTED: &str = "file:PATH, s3://bucket[/prefix] or memory:";

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreUrl {
    /// A folder on this machine.
    Folder(PathBuf),
    /// An S3 bucket; endpoint, region and keys come from the `AWS_*` variables.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What all our keys start with; may be empty.
        prefix: Path,
    },
    /// The memory of this process, gone when it ends.
    Memory,
}

/// Why a text names no store.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreUrlError {
    /// A store of a kind that is not supported.
    #[error("store '{0}' is not supported: use {SUPPORTED}")]
    Unsupported(String),
    /// The path after `file:` is missing.
    #[error("store '{0}' names no folder: write file:PATH")]
    NoFolder(String),
    /// The bucket is missing, or a name no bucket can have.
    #[error("store '{0}' names no bucket: write s3://bucket or s3://bucket/prefix")]
    NoBucket(String),
    /// The prefix has characters or parts that keys cannot have.
    #[error("store '{url}' has a prefix that cannot be part of a key: {reason}")]
    Prefix {
        /// As written.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if let Some(path) = url.strip_prefix("file:") {
            // file:///absolute has an empty host; file:relative and file:/absolute have none.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(StoreUrlError::NoFolder(url.to_owned()));
            }
            return Ok(Self::Folder(PathBuf::from(path)));
        }
        if url == "memory:" || url == "memory://" {
            return Ok(Self::Memory);
        }
        if let Some(rest) = url.strip_prefix("s3://") {
            return parse_s3(url, rest);
        }
        Err(StoreUrlError::Unsupported(url.to_owned()))
    }
}

fn parse_s3(url: &str, rest: &str) -> Result<StoreUrl, StoreUrlError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_bucket = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if bucket.is_empty() || !bucket.bytes().all(is_bucket) {
        return Err(StoreUrlError::NoBucket(url.to_owned()));
    }
    let prefix = Path::parse(prefix).map_err(|error| StoreUrlError::Prefix {
        url: url.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(StoreUrl::S3 {
        bucket: bucket.to_owned(),
        prefix,
    })
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file:{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.as_ref().is_empty() => {
                write!(f, "s3://{bucket}")
            }
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_is_understood() {
        let s3 = |bucket: &str, prefix: &str| StoreUrl::S3 {
            bucket: bucket.to_owned(),
            prefix: Path::from(prefix),
        };
        for (url, expected) in [
            ("file:./floe-data", StoreUrl::Folder("./floe-data".into())),
            (
                "file:/var/lib/floe",
                StoreUrl::Folder("/var/lib/floe".into()),
            ),
            (
                "file:///var/lib/floe",
                StoreUrl::Folder("/var/lib/floe".into()),
            ),
            ("file:with space#1", StoreUrl::Folder("with space#1".into())),
            ("memory:", StoreUrl::Memory),
            ("s3://bucket", s3("bucket", "")),
            ("s3://bucket/", s3("bucket", "")),
            ("s3://bucket/a/b/", s3("bucket", "a/b")),
        ] {
            let parsed: StoreUrl = url.parse().unwrap();
            assert_eq!(parsed, expected, "{url}");
            assert_eq!(
                parsed.to_string().parse(),
                Ok(expected),
                "{url} written and read again"
            );
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for url in [
            "gs://bucket",
            "az://container",
            "http://x",
            "floe-data",
            "",
            "s3:bucket",
        ] {
            let error = url.parse::<StoreUrl>().unwrap_err();
            assert_eq!(error, StoreUrlError::Unsupported(url.to_owned()));
            assert!(
                error.to_string().contains("s3://bucket[/prefix]"),
                "{error}"
            );
        }
        for url in ["s3://", "s3:///prefix", "s3://user@host/x"] {
            assert_eq!(
                url.parse::<StoreUrl>(),
                Err(StoreUrlError::NoBucket(url.to_owned()))
            );
        }
        assert!(matches!(
            "s3://b/a/../c".parse::<StoreUrl>(),
            Err(StoreUrlError::Prefix { .. })
        ));
        assert!(matches!(
            "file:".parse::<StoreUrl>(),
            Err(StoreUrlError::NoFolder(_))
        ));
    }
}
