//! Emits `messages.rs`: a module per API, in it a Rust struct per struct of the schema, each with one function that
//! reads it and one that writes it.

use std::fmt::Write;

use crate::codec;
use crate::defaults::{default_value, is_rust_default, rust_type};
use crate::model::{Api, Field, snake_case};
use crate::shape::{Shape, Shapes};

/// All modules.
pub(crate) fn messages(apis: &[Api]) -> Result<String, String> {
    let mut out = String::new();
    for api in apis {
        let shapes = Shapes::of(api).map_err(|e| format!("{}: {e}", api.name))?;
        module(&mut out, api, &shapes);
    }
    Ok(out)
}

fn module(out: &mut String, api: &Api, shapes: &Shapes<'_>) {
    let Api {
        name, key, valid, ..
    } = api;
    let snake = snake_case(name);
    _ = write!(
        out,
        r#"
/// {name}, key {key}, versions {valid}.
#[allow(unused_imports, unused_variables, reason = "generated; not every API has every type")]
#[allow(clippy::derivable_impls, clippy::too_many_lines, reason = "generated")]
pub mod {snake} {{
use bytes::Bytes;
use uuid::Uuid;

use super::{{Message, Request, required}};
use crate::api::ApiKey;
use crate::decoder::{{DecodeError, Decoder}};
use crate::encoder::{{EncodeError, Encoder}};
use crate::records::Records;
use crate::str::Str;

impl Request for {name}Request {{
    const KEY: ApiKey = ApiKey::{name};
    type Response = {name}Response;
}}
"#
    );
    for shape in &shapes.all {
        declaration(out, shape);
        implementation(out, shapes, shape);
    }
    out.push_str("}\n");
}

fn field_doc(field: &Field) -> String {
    let mut doc = format!("Versions {}", field.versions);
    if let Some(nullable) = field.nullable {
        _ = write!(doc, ", null in {nullable}");
    }
    if let Some(tag) = field.tag {
        _ = write!(doc, ", tag {tag}");
    }
    if let Some(default) = &field.default {
        _ = write!(doc, ", default {default}");
    }
    doc
}

fn declaration(out: &mut String, shape: &Shape<'_>) {
    let derives_default = shape.fields.iter().all(is_rust_default);
    let derive = if derives_default { ", Default" } else { "" };
    let Shape {
        name,
        doc,
        versions,
        ..
    } = shape;
    _ = writeln!(
        out,
        "\n/// {doc}, versions {versions}.\n#[derive(Debug, Clone, PartialEq{derive})]\npub struct {name} {{"
    );
    for field in shape.fields {
        let (name, kind, doc) = (field.rust_name(), rust_type(field), field_doc(field));
        _ = writeln!(out, "    /// {doc}.\n    pub {name}: {kind},");
    }
    out.push_str("}\n");
    if derives_default {
        return;
    }
    let mut values = String::new();
    for field in shape.fields {
        _ = writeln!(values, "{}: {},", field.rust_name(), default_value(field));
    }
    _ = write!(
        out,
        "\nimpl Default for {name} {{\nfn default() -> Self {{\nSelf {{\n{values}}}\n}}\n}}\n"
    );
}

fn implementation(out: &mut String, shapes: &Shapes<'_>, shape: &Shape<'_>) {
    let name = &shape.name;
    let (decode, encode) = (codec::decode(shapes, shape), codec::encode(shapes, shape));
    let bytes = shapes.smallest_bytes(shape);
    _ = write!(
        out,
        r"
impl Message for {name} {{
fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{
{decode}}}
fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {{
{encode}}}
fn smallest_wire_bytes(version: i16) -> usize {{
{bytes}
}}
}}
"
    );
}
