//! Where a store is, as a user writes it: `file:PATH`, `s3://bucket[/prefix]`, `gs://bucket[/prefix]`,
//! `az://container[/prefix]`, `memory:`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use object_store::path::Path;

/// What a user is told is possible.
const SUPPORTED: &str =
    "file:PATH, s3://bucket[/prefix], gs://bucket[/prefix], az://container[/prefix] or memory:";

/// What serves a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BucketService {
    /// S3 and what speaks its protocol; endpoint, region and keys come from the `AWS_*` variables.
    S3,
    /// Google Cloud Storage; credentials come from the `GOOGLE_*` variables.
    Gcs,
    /// Azure Blob Storage, where buckets are called containers; account and keys come from the
    /// `AZURE_*` variables.
    Azure,
}

impl BucketService {
    const ALL: [Self; 3] = [Self::S3, Self::Gcs, Self::Azure];

    /// What a URL of one of its buckets starts with.
    const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3://",
            Self::Gcs => "gs://",
            Self::Azure => "az://",
        }
    }
}

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreUrl {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A bucket of an object store.
    Bucket {
        /// Who serves it.
        service: BucketService,
        /// The bucket's or container's name.
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
    #[error("store '{url}' names no bucket: write {scheme}bucket or {scheme}bucket/prefix")]
    NoBucket {
        /// As written.
        url: String,
        /// What it starts with.
        scheme: &'static str,
    },
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
        for service in BucketService::ALL {
            if let Some(rest) = url.strip_prefix(service.scheme()) {
                return parse_bucket(service, url, rest);
            }
        }
        Err(StoreUrlError::Unsupported(url.to_owned()))
    }
}

fn parse_bucket(service: BucketService, url: &str, rest: &str) -> Result<StoreUrl, StoreUrlError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_bucket = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if bucket.is_empty() || !bucket.bytes().all(is_bucket) {
        return Err(StoreUrlError::NoBucket {
            url: url.to_owned(),
            scheme: service.scheme(),
        });
    }
    let prefix = Path::parse(prefix).map_err(|error| StoreUrlError::Prefix {
        url: url.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(StoreUrl::Bucket {
        service,
        bucket: bucket.to_owned(),
        prefix,
    })
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file:{}", path.display()),
            Self::Bucket {
                service,
                bucket,
                prefix,
            } => {
                write!(f, "{}{bucket}", service.scheme())?;
                if prefix.as_ref().is_empty() {
                    return Ok(());
                }
                write!(f, "/{prefix}")
            }
            Self::Memory => f.write_str("memory:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_is_understood() {
        let bucket = |service, bucket: &str, prefix: &str| StoreUrl::Bucket {
            service,
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
            ("s3://bucket", bucket(BucketService::S3, "bucket", "")),
            ("s3://bucket/", bucket(BucketService::S3, "bucket", "")),
            (
                "s3://bucket/a/b/",
                bucket(BucketService::S3, "bucket", "a/b"),
            ),
            (
                "gs://my.bucket_1",
                bucket(BucketService::Gcs, "my.bucket_1", ""),
            ),
            ("gs://bucket/a", bucket(BucketService::Gcs, "bucket", "a")),
            (
                "az://container",
                bucket(BucketService::Azure, "container", ""),
            ),
            (
                "az://container/a/b",
                bucket(BucketService::Azure, "container", "a/b"),
            ),
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
            "gcs://bucket",
            "abfs://container",
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
        for url in [
            "s3://",
            "s3:///prefix",
            "s3://user@host/x",
            "gs://",
            "az:///x",
        ] {
            let error = url.parse::<StoreUrl>().unwrap_err().to_string();
            let scheme = &url[..5];
            assert!(error.contains(&format!("write {scheme}bucket")), "{error}");
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
