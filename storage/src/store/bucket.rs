//! A bucket that was opened, and which setting to look at when it cannot be used.

use std::sync::Arc;

use object_store::ObjectStore;

use super::{OpenError, StoreUrl};
use crate::error::{StoreError, StoreErrorKind, root};

/// A bucket and what a user must know when it cannot be reached.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) hints: Hints,
}

/// What the settings said, to name the one that is likely wrong.
pub(super) struct Hints {
    pub(super) names: &'static Names,
    /// Where requests go, as far as it was set.
    pub(super) endpoint: Option<String>,
    /// Whether keys come from a variable; if not, from the machine's or container's role.
    pub(super) has_keys: bool,
}

/// The settings of a service, as a user knows them.
#[derive(Debug)]
pub(super) struct Names {
    /// All of them.
    pub(super) all: &'static str,
    /// What decides who we are.
    pub(super) keys: &'static str,
    /// What is the simplest to set where nothing does.
    pub(super) missing_keys: &'static str,
    /// What says where requests go.
    pub(super) endpoint: &'static str,
    /// What to look at when nothing says that.
    pub(super) network: &'static str,
}

/// Why the settings of a bucket make no sense, and which of them.
pub(super) struct SettingsError {
    pub(super) reason: String,
    pub(super) setting: &'static str,
}

impl SettingsError {
    /// What the client itself says of the settings `names`.
    pub(super) fn new(names: &'static Names, error: &object_store::Error) -> Self {
        // The innermost cause does not always tell the file, the outermost not always the cause.
        let (mut reason, cause) = (error.to_string(), root(error).to_string());
        if !reason.contains(&cause) {
            reason = format!("{reason}: {cause}");
        }
        Self {
            reason,
            setting: names.all,
        }
    }
}

impl Hints {
    /// Names the likely cause of the first request's failure.
    pub(super) fn explain(&self, url: &StoreUrl, error: StoreError) -> OpenError {
        let (url, reason) = (url.clone(), root(&error).to_string());
        let keys = || {
            let names = self.names;
            let keys = if self.has_keys {
                names.keys
            } else {
                names.missing_keys
            };
            keys.to_owned()
        };
        match error.kind() {
            StoreErrorKind::NoSuchBucket => OpenError::NoSuchBucket { url },
            StoreErrorKind::Denied => OpenError::Denied {
                url,
                reason,
                setting: keys(),
            },
            StoreErrorKind::Unreachable | StoreErrorKind::Timeout | StoreErrorKind::Interrupted => {
                let setting = match &self.endpoint {
                    _ if !self.has_keys => keys(),
                    Some(endpoint) => format!("{}, which is {endpoint}", self.names.endpoint),
                    None => self.names.network.to_owned(),
                };
                OpenError::Unreachable {
                    url,
                    reason,
                    setting,
                }
            }
            _ => OpenError::Failed {
                url,
                error: Box::new(error),
            },
        }
    }
}
