//! `floe.toml`: the same settings as the flags, as text.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{ConfigError, Setting};

/// Reads a settings file into the text of each setting it has.
///
/// # Errors
/// It is no TOML, a key is unknown, or a value has a type its setting cannot have.
pub(super) fn parse(file: &str, text: &str) -> Result<BTreeMap<Setting, Vec<String>>, ConfigError> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| ConfigError::File {
            file: file.to_owned(),
            reason: describe(&error, text),
        })?;
    let mut settings = BTreeMap::new();
    for (key, value) in table {
        let setting = Setting::ALL
            .into_iter()
            .find(|setting| setting.key() == key);
        let Some(setting) = setting else {
            return Err(ConfigError::UnknownKey {
                file: file.to_owned(),
                key,
            });
        };
        let values = values(setting, value).ok_or_else(|| ConfigError::File {
            file: file.to_owned(),
            reason: format!("setting '{key}' {}", expected(setting)),
        })?;
        settings.insert(setting, values);
    }
    Ok(settings)
}

/// One line: where and what.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let message = error
        .message()
        .lines()
        .next()
        .unwrap_or("not TOML")
        .to_owned();
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

const fn expected(setting: Setting) -> &'static str {
    match setting {
        Setting::Set => "must be a table of names and values",
        Setting::Listen | Setting::Advertise => "must be a text or a list of texts",
        Setting::Store
        | Setting::Roles
        | Setting::Internal
        | Setting::Metadata
        | Setting::Zone
        | Setting::MemoryLimit
        | Setting::Http
        | Setting::FlushSize
        | Setting::FlushInterval
        | Setting::Log => "must be a text or a number",
    }
}

fn values(setting: Setting, value: Value) -> Option<Vec<String>> {
    match (setting, value) {
        (Setting::Set, Value::Table(table)) => table
            .into_iter()
            .flat_map(|(name, value)| flatten(name, value))
            .map(|(name, value)| scalar(&value).map(|value| format!("{name}={value}")))
            .collect(),
        (Setting::Listen | Setting::Advertise, Value::Array(array)) => {
            array.iter().map(scalar).collect()
        }
        (Setting::Set, _) => None,
        (_, value) => scalar(&value).map(|value| vec![value]),
    }
}

/// `num.partitions = 4` without quotes is a table within a table to TOML: the names are put together.
fn flatten(name: String, value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Table(inner) => inner
            .into_iter()
            .flat_map(|(last, value)| flatten(format!("{name}.{last}"), value))
            .collect(),
        value => vec![(name, value)],
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
