//! Rust types of fields and their default values.

use crate::model::{Field, Kind};

/// The type without its `Option`.
pub(crate) fn bare_type(kind: &Kind) -> String {
    match kind {
        Kind::Fixed(name, _) => (*name).to_owned(),
        Kind::String => "Str".to_owned(),
        Kind::Bytes => "Bytes".to_owned(),
        Kind::Records => "Records".to_owned(),
        Kind::Struct(name) => name.clone(),
        Kind::Array(element) => format!("Vec<{}>", bare_type(element)),
    }
}

/// The type of a field.
pub(crate) fn rust_type(field: &Field) -> String {
    let bare = bare_type(&field.kind);
    match (&field.kind, field.is_optional()) {
        (_, false) => bare,
        (Kind::Struct(_), true) => format!("Option<Box<{bare}>>"),
        (_, true) => format!("Option<{bare}>"),
    }
}

/// The default value as a Rust expression. A nullable field whose schema names no default is empty, not null, as
/// in Kafka.
pub(crate) fn default_value(field: &Field) -> String {
    let bare = match (&field.kind, field.default.as_deref()) {
        (_, Some("null")) => return "None".to_owned(),
        (Kind::Fixed(..), Some(value)) => value.to_owned(),
        (Kind::String, Some(text)) => format!("Str::from_static(\"{text}\")"),
        (Kind::Fixed("bool", _), None) => "false".to_owned(),
        (Kind::Fixed("f64", _), None) => "0.0".to_owned(),
        (Kind::Fixed("Uuid", _), None) => "Uuid::nil()".to_owned(),
        (Kind::Fixed(..), None) => "0".to_owned(),
        (kind @ Kind::Struct(_), _) => format!("{}::default()", bare_type(kind)),
        (Kind::Array(_), _) => "Vec::new()".to_owned(),
        (kind, _) => format!("{}::new()", bare_type(kind)),
    };
    if field.is_optional() {
        format!("Some({bare})")
    } else {
        bare
    }
}

/// Whether the default is what Rust's `Default` gives for the type.
pub(crate) fn is_rust_default(field: &Field) -> bool {
    match field.default.as_deref() {
        Some("null") => true,
        Some(_) => false,
        None => !field.is_optional(),
    }
}

/// A Rust condition: `value` is not the default.
pub(crate) fn differs_from_default(field: &Field, value: &str) -> String {
    match (&field.kind, field.default.as_deref()) {
        (_, Some("null")) => format!("{value}.is_some()"),
        (Kind::Fixed("bool", _), None) => value.to_owned(),
        (Kind::String | Kind::Bytes | Kind::Array(_), None) if !field.is_optional() => {
            format!("!{value}.is_empty()")
        }
        _ => format!("{value} != {}", default_value(field)),
    }
}
