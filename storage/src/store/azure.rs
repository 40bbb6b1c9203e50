//! An Azure Blob Storage container: settings from the usual `AZURE_*` variables.
//!
//! An object is created with `If-None-Match: *`; a name that is taken is answered with 409
//! BlobAlreadyExists (412 by some services in between). Azure has no ranges from the end of an object
//! of unknown size: see [`super::StoreOptions::suffix_ranges`].

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::BucketService;
use super::bucket::{Bucket, Hints, Names, SettingsError};
use super::http::{Connector, client_options, no_retries};

const NAMES: Names = Names {
    all: "the AZURE_… variables and the container's name",
    keys: "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY and the account's roles",
    missing_keys: "AZURE_STORAGE_ACCOUNT_KEY, which is not set",
    endpoint: "AZURE_STORAGE_ENDPOINT",
    network: "the network and AZURE_STORAGE_ACCOUNT_NAME, or set AZURE_STORAGE_ENDPOINT",
};

/// Any of these says who we are without asking the machine.
const KEYS: [AzureConfigKey; 5] = [
    AzureConfigKey::AccessKey,
    AzureConfigKey::SasKey,
    AzureConfigKey::Token,
    AzureConfigKey::ClientSecret,
    AzureConfigKey::FederatedTokenFile,
];

/// Builds a client of `container`; sends nothing. `settings` are more variables, by name, and go
/// before those of the environment.
pub(super) fn bucket(
    container: &str,
    settings: &BTreeMap<String, String>,
) -> Result<Bucket, SettingsError> {
    let invalid = |error: object_store::Error| SettingsError::new(&NAMES, &error);
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (name, value) in settings {
        let key: AzureConfigKey = name.to_ascii_lowercase().parse().map_err(invalid)?;
        builder = builder.with_config(key, value);
    }
    let is_set = |key| builder.get_config_value(&key).is_some();
    let is_true = |key| builder.get_config_value(&key) == Some(true.to_string());
    let is_emulator = is_true(AzureConfigKey::UseEmulator);
    if !is_emulator && !is_set(AzureConfigKey::AccountName) {
        return Err(SettingsError {
            reason: "no storage account is named".to_owned(),
            setting: "AZURE_STORAGE_ACCOUNT_NAME, which is not set",
        });
    }
    let has_keys =
        is_emulator || is_true(AzureConfigKey::SkipSignature) || KEYS.into_iter().any(is_set);
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let store = builder
        .with_container_name(container)
        .with_client_options(client_options(endpoint.as_deref()))
        .with_retry(no_retries())
        .with_http_connector(Connector(BucketService::Azure))
        .build()
        .map_err(invalid)?;
    Ok(Bucket {
        store: Arc::new(store),
        hints: Hints {
            names: &NAMES,
            endpoint,
            has_keys,
        },
    })
}
