//! An S3 bucket: settings from the usual `AWS_*` variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use super::BucketService;
use super::bucket::{Bucket, Hints, Names, SettingsError};
use super::http::{Connector, client_options, no_retries};

const NAMES: Names = Names {
    all: "the AWS_… variables and the bucket's name",
    keys: "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the policy of the user",
    missing_keys: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which are not set",
    endpoint: "AWS_ENDPOINT_URL",
    network: "the network, or set AWS_ENDPOINT_URL and AWS_REGION",
};

/// Builds a client of `bucket`; sends nothing. `settings` are more variables, by name, and go before
/// those of the environment.
pub(super) fn bucket(
    bucket: &str,
    settings: &BTreeMap<String, String>,
) -> Result<Bucket, SettingsError> {
    build(bucket, settings).map_err(|error| SettingsError::new(&NAMES, &error))
}

fn build(bucket: &str, settings: &BTreeMap<String, String>) -> object_store::Result<Bucket> {
    let mut builder = AmazonS3Builder::from_env();
    for (name, value) in settings {
        let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse()?;
        builder = builder.with_config(key, value);
    }
    builder = builder.with_bucket_name(bucket);
    let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key));
    let has_keys = builder
        .get_config_value(&AmazonS3ConfigKey::AccessKeyId)
        .is_some();
    let store = builder
        .with_client_options(client_options(endpoint.as_deref()))
        .with_retry(no_retries())
        // Else each body is read once more for a SHA-256; TLS and our own checksums guard it.
        .with_unsigned_payload(true)
        .with_http_connector(Connector(BucketService::S3))
        .build()?;
    Ok(Bucket {
        store: Arc::new(store),
        hints: Hints {
            names: &NAMES,
            endpoint,
            has_keys,
        },
    })
}
