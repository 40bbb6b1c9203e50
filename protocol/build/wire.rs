//! The Rust expressions that read and write one field.

use crate::defaults::{bare_type, default_value, differs_from_default};
use crate::model::{Field, Kind};
use crate::versions::Versions;

/// Where a field stands: the versions that have it, and which of them are flexible.
pub(crate) struct Place {
    /// The versions of the field within the struct.
    pub(crate) versions: Versions,
    /// The flexible versions of the API.
    pub(crate) flexible: Option<Versions>,
}

impl Place {
    /// `true`, `false`, or the local variable that says whether the version is flexible.
    fn flexible(&self) -> &'static str {
        match self
            .flexible
            .and_then(|flexible| flexible.and(self.versions))
        {
            None => "false",
            Some(versions) if versions == self.versions => "true",
            Some(_) => "flexible",
        }
    }
}

fn read_value(kind: &Kind, nullable: bool, flexible: &str) -> String {
    let prefix = if nullable { "nullable_" } else { "" };
    match kind {
        Kind::Fixed(name, _) => format!("d.{}()?", name.to_lowercase()),
        Kind::String => format!("d.{prefix}string({flexible})?"),
        Kind::Bytes => format!("d.{prefix}bytes({flexible})?"),
        Kind::Records => format!("d.{prefix}records({flexible})?"),
        Kind::Struct(_) if nullable => "d.nullable_struct(version)?".to_owned(),
        Kind::Struct(_) => "Message::decode(d, version)?".to_owned(),
        Kind::Array(element) => match element.as_ref() {
            Kind::Struct(_) => format!("d.{prefix}structs({flexible}, version)?"),
            Kind::String => format!("d.{prefix}strings({flexible})?"),
            Kind::Fixed(name, size) => {
                format!(
                    "d.{prefix}array({flexible}, {size}, Decoder::{})?",
                    name.to_lowercase()
                )
            }
            Kind::Bytes | Kind::Records | Kind::Array(_) => {
                unreachable!("the schema has no arrays of {}", bare_type(element))
            }
        },
    }
}

/// How the value of a field is read in the versions of `place`.
pub(crate) fn read(field: &Field, place: &Place) -> String {
    let flexible = place.flexible();
    let plain = || {
        let value = read_value(&field.kind, false, flexible);
        if field.is_optional() {
            format!("Some({value})")
        } else {
            value
        }
    };
    let nullable = || read_value(&field.kind, true, flexible);
    match field
        .nullable
        .and_then(|versions| versions.and(place.versions))
    {
        None => plain(),
        Some(versions) => match versions.condition(place.versions) {
            None => nullable(),
            Some(condition) => {
                format!("if {condition} {{ {} }} else {{ {} }}", nullable(), plain())
            }
        },
    }
}

/// The initial value of a field in a struct literal: read, or its default in versions that lack it.
pub(crate) fn read_or_default(field: &Field, place: Option<&Place>, all: Versions) -> String {
    let default = default_value(field);
    let Some(place) = place.filter(|_| field.tag.is_none()) else {
        return default;
    };
    match place.versions.condition(all) {
        None => read(field, place),
        Some(condition) => format!(
            "if {condition} {{ {} }} else {{ {default} }}",
            read(field, place)
        ),
    }
}

/// How a value is written that is an `Option` of a reference.
fn write_option(kind: &Kind, value: &str, flexible: &str) -> String {
    match kind {
        Kind::Fixed(..) => unreachable!("fixed types are never null"),
        Kind::String => format!("e.nullable_string({value}, {flexible})?;"),
        Kind::Bytes => format!("e.nullable_bytes({value}, {flexible})?;"),
        Kind::Records => format!("e.nullable_records({value}, {flexible})?;"),
        Kind::Struct(_) => format!("e.nullable_struct({value}, version)?;"),
        Kind::Array(element) => match element.as_ref() {
            Kind::Struct(_) => format!("e.nullable_structs({value}, {flexible}, version)?;"),
            Kind::String => format!("e.nullable_strings({value}, {flexible})?;"),
            other => format!(
                "e.nullable_values({value}, {flexible}, Encoder::{})?;",
                bare_type(other).to_lowercase()
            ),
        },
    }
}

fn write_plain(field: &Field, flexible: &str) -> String {
    let name = field.rust_name();
    match (&field.kind, field.is_optional()) {
        (Kind::Fixed(kind, _), _) => format!("e.{}(self.{name});", kind.to_lowercase()),
        (Kind::Struct(_), false) => format!("self.{name}.encode(e, version)?;"),
        (Kind::Struct(_), true) => {
            format!(
                "required(self.{name}.as_deref(), \"{}\", version)?.encode(e, version)?;",
                field.name
            )
        }
        (kind, false) => write_option(kind, &format!("Some(&self.{name})"), flexible),
        (kind, true) => {
            let value = format!(
                "required({}, \"{}\", version)?",
                reference(field),
                field.name
            );
            write_option(kind, &format!("Some({value})"), flexible)
        }
    }
}

/// An optional field as an `Option` of a reference.
fn reference(field: &Field) -> String {
    let name = field.rust_name();
    match field.kind {
        Kind::Struct(_) | Kind::Array(_) => format!("self.{name}.as_deref()"),
        _ => format!("self.{name}.as_ref()"),
    }
}

/// How the value of a field is written in the versions of `place`.
pub(crate) fn write(field: &Field, place: &Place) -> String {
    let flexible = place.flexible();
    let nullable = || write_option(&field.kind, &reference(field), flexible);
    match field
        .nullable
        .and_then(|versions| versions.and(place.versions))
    {
        None => write_plain(field, flexible),
        Some(versions) => match versions.condition(place.versions) {
            None => nullable(),
            Some(condition) => {
                format!(
                    "if {condition} {{ {} }} else {{ {} }}",
                    nullable(),
                    write_plain(field, flexible)
                )
            }
        },
    }
}

/// A Rust condition: the tagged field is written in this version, since it is not the default.
pub(crate) fn is_written(field: &Field, place: &Place, all: Versions) -> String {
    let differs = differs_from_default(field, &format!("self.{}", field.rust_name()));
    match place.versions.condition(all) {
        None => differs,
        Some(condition) => format!("{condition} && {differs}"),
    }
}

/// The fewest bytes a field takes in a version that has it; `structs` gives those of a struct.
pub(crate) fn smallest_bytes(
    field: &Field,
    flexible: bool,
    structs: impl Fn(&str) -> usize,
) -> usize {
    match &field.kind {
        Kind::Fixed(_, size) => *size,
        Kind::String => {
            if flexible {
                1
            } else {
                2
            }
        }
        Kind::Bytes | Kind::Records | Kind::Array(_) => {
            if flexible {
                1
            } else {
                4
            }
        }
        Kind::Struct(_) if field.nullable.is_some() => 1,
        Kind::Struct(name) => structs(name),
    }
}
