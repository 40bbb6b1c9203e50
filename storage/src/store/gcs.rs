//! A Google Cloud Storage bucket: settings from the usual `GOOGLE_*` variables.
//!
//! An object is created with `x-goog-if-generation-match: 0`: only where there is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::BucketService;
use super::bucket::{Bucket, Hints, Names, SettingsError};
use super::http::{Connector, client_options, no_retries};

/// Where an emulator listens, as Google's own libraries take it: `HOST:PORT` or a URL.
const EMULATOR: &str = "STORAGE_EMULATOR_HOST";
/// What an emulator is told of who we are. Without a token the client would ask the machine for one,
/// for uploads even where it is told to send none.
const EMULATOR_TOKEN: &str = "emulator";

const NAMES: Names = Names {
    all: "GOOGLE_APPLICATION_CREDENTIALS, the other GOOGLE_… variables and the bucket's name",
    keys: "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, and the account's roles",
    missing_keys: "GOOGLE_APPLICATION_CREDENTIALS, which is not set",
    endpoint: "GOOGLE_BASE_URL or STORAGE_EMULATOR_HOST",
    network: "the network, or set GOOGLE_BASE_URL",
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
    let mut builder = GoogleCloudStorageBuilder::from_env();
    for (name, value) in settings.iter().filter(|(name, _)| *name != EMULATOR) {
        let key: GoogleConfigKey = name.to_ascii_lowercase().parse()?;
        builder = builder.with_config(key, value);
    }
    let mut endpoint = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    if endpoint.is_none()
        && let Some(host) = settings.get(EMULATOR).cloned().or_else(emulator)
    {
        let url = emulator_url(&host);
        builder = builder
            .with_base_url(&url)
            .with_bearer_token(EMULATOR_TOKEN);
        endpoint = Some(url);
    }
    let has_keys = has_keys(&builder);
    let store = builder
        .with_bucket_name(bucket)
        .with_client_options(client_options(endpoint.as_deref()))
        .with_retry(no_retries())
        .with_http_connector(Connector(BucketService::Gcs))
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

#[expect(
    clippy::disallowed_methods,
    reason = "the client reads the other variables by itself; it does not know this one"
)]
fn emulator() -> Option<String> {
    std::env::var(EMULATOR).ok().filter(|host| !host.is_empty())
}

fn emulator_url(host: &str) -> String {
    let host = host.trim_end_matches('/');
    if host.contains("://") {
        host.to_owned()
    } else {
        format!("http://{host}")
    }
}

fn has_keys(builder: &GoogleCloudStorageBuilder) -> bool {
    let is_set = |key| builder.get_config_value(&key).is_some();
    is_set(GoogleConfigKey::ServiceAccount)
        || is_set(GoogleConfigKey::ServiceAccountKey)
        || is_set(GoogleConfigKey::ApplicationCredentials)
        || is_set(GoogleConfigKey::BearerToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_named_by_host_or_url() {
        for host in ["127.0.0.1:4443", "http://127.0.0.1:4443", "127.0.0.1:4443/"] {
            assert_eq!(emulator_url(host), "http://127.0.0.1:4443");
        }
        assert_eq!(emulator_url("https://gcs:1"), "https://gcs:1");
    }
}
