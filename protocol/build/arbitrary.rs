//! Emits `arbitrary.rs`, for tests: a random value of every struct, and the lists of all APIs and structs. A random struct of a
//! version sets only fields which that version has, so that writing and reading it gives the same struct again.

use std::fmt::Write;

use crate::defaults::default_value;
use crate::model::{Api, Field, Kind, snake_case};
use crate::shape::{Shape, Shapes};

/// The implementations of `Arbitrary`, `APIS` and `STRUCTS`.
pub(crate) fn arbitrary(apis: &[Api]) -> Result<String, String> {
    let (mut modules, mut list) = (String::new(), String::new());
    let (mut sizes, mut structs) = (String::new(), 0);
    for api in apis {
        let shapes = Shapes::of(api).map_err(|e| format!("{}: {e}", api.name))?;
        let (snake, name) = (snake_case(&api.name), &api.name);
        _ = write!(
            modules,
            r#"
#[allow(unused_imports, unused_variables, reason = "generated; not every API has every type")]
mod {snake} {{
use uuid::Uuid;

use super::{{Arbitrary, Random}};
use crate::messages::{snake}::*;
use crate::str::Str;
"#
        );
        for shape in &shapes.all {
            implementation(&mut modules, &shapes, shape);
            let (name, versions) = (format!("{snake}::{}", shape.name), shape.versions);
            let (first, last) = (versions.first, versions.last);
            _ = writeln!(
                sizes,
                "StructSize::of::<crate::messages::{name}>(\"{name}\", ({first}, {last})),"
            );
            structs += 1;
        }
        modules.push_str("}\n");
        _ = writeln!(
            list,
            "ApiCodec::of::<crate::messages::{snake}::{name}Request>(),"
        );
    }
    let count = apis.len();
    Ok(format!(
        "/// All APIs, by key.\npub const APIS: [ApiCodec; {count}] = [\n{list}];\n\n\
         /// All structs.\npub const STRUCTS: [StructSize; {structs}] = [\n{sizes}];\n{modules}"
    ))
}

fn implementation(out: &mut String, shapes: &Shapes<'_>, shape: &Shape<'_>) {
    let mut values = String::new();
    for field in shape.fields {
        let default = default_value(field);
        let value = shapes.place(shape, field).map(|place| {
            let value = random(field, &place);
            // A tagged field is left out at its default, which must happen too.
            let tagged = field.tag.map(|_| "random.coin()".to_owned());
            let conditions: Vec<_> = place
                .versions
                .condition(shape.versions)
                .into_iter()
                .chain(tagged)
                .collect();
            if conditions.is_empty() {
                return value;
            }
            format!(
                "if {} {{ {value} }} else {{ {default} }}",
                conditions.join(" && ")
            )
        });
        _ = writeln!(
            values,
            "{}: {},",
            field.rust_name(),
            value.unwrap_or(default)
        );
    }
    _ = write!(
        out,
        r"
impl Arbitrary for {} {{
fn arbitrary(random: &mut Random, version: i16) -> Self {{
Self {{
{values}}}
}}
}}
",
        shape.name
    );
}

/// A random value of a field in the versions of `place`.
fn random(field: &Field, place: &crate::wire::Place) -> String {
    let value = random_value(&field.kind);
    if !field.is_optional() {
        return value;
    }
    let boxed = if let Kind::Struct(_) = field.kind {
        format!("Box::new({value})")
    } else {
        value
    };
    match field
        .nullable
        .and_then(|versions| versions.and(place.versions))
    {
        None => format!("Some({boxed})"),
        Some(versions) => {
            let condition = versions.condition(place.versions);
            let condition = condition.map_or(String::new(), |is| format!("({is}) && "));
            format!("if {condition}random.coin() {{ None }} else {{ Some({boxed}) }}")
        }
    }
}

fn random_value(kind: &Kind) -> String {
    match kind {
        Kind::Fixed(name, _) => format!("random.{}()", name.to_lowercase()),
        Kind::String => "random.string()".to_owned(),
        Kind::Bytes => "random.bytes()".to_owned(),
        Kind::Records => "random.records()".to_owned(),
        Kind::Struct(_) => "Arbitrary::arbitrary(random, version)".to_owned(),
        Kind::Array(element) => format!("random.array(|random| {})", random_value(element)),
    }
}
