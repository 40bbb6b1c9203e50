//! Emits `messages.rs`: a module per API, in it a Rust struct per struct of the schema, each with one function that
//! reads it and one that writes it.

use std::fmt::Write;

use crate::defaults::{default_value, is_rust_default, rust_type};
use crate::model::{Api, Body, Field, Kind, snake_case};
use crate::versions::Versions;
use crate::wire::{Place, is_written, read, read_or_default, smallest_bytes, write};

/// A struct as Rust will have it.
struct Shape<'a> {
    name: String,
    doc: String,
    fields: &'a [Field],
    // The versions in which it can occur.
    versions: Versions,
    // Whether it is a request or a response, whose version is checked.
    is_body: bool,
}

/// All modules.
pub(crate) fn messages(apis: &[Api]) -> Result<String, String> {
    let mut out = String::new();
    for api in apis {
        module(&mut out, api).map_err(|e| format!("{}: {e}", api.name))?;
    }
    Ok(out)
}

fn module(out: &mut String, api: &Api) -> Result<(), String> {
    let (name, key) = (&api.name, api.key);
    let mut shapes = Vec::new();
    for (body, suffix) in [(&api.request, "Request"), (&api.response, "Response")] {
        body_shapes(api, body, suffix, &mut shapes)?;
    }
    _ = write!(
        out,
        "/// {name}, key {key}, versions {}.\n#[allow(unused_imports, unused_variables, reason = \"generated; \
         not every API has every type\")]\n#[allow(clippy::derivable_impls, clippy::large_enum_variant, clippy::too_many_lines, \
         clippy::nonminimal_bool, clippy::struct_excessive_bools, clippy::unreadable_literal, \
         reason = \"generated\")]\npub mod {} {{\n    use bytes::Bytes;\n    use uuid::Uuid;\n\n    \
         use super::{{Message, Request, required}};\n    use crate::api::ApiKey;\n    \
         use crate::decoder::{{DecodeError, Decoder}};\n    use crate::encoder::{{EncodeError, Encoder}};\n    \
         use crate::records::Records;\n    use crate::str::Str;\n",
        api.valid,
        snake_case(name),
    );
    let smallest = SmallestBytes {
        flexible: api.flexible,
        shapes: &shapes,
    };
    for shape in &shapes {
        declaration(out, shape);
        implementation(out, shape, api.flexible, &smallest);
    }
    _ = write!(
        out,
        "\n    impl Request for {name}Request {{\n        const KEY: ApiKey = ApiKey::{name};\n        \
         type Response = {name}Response;\n    }}\n}}\n\n",
    );
    Ok(())
}

fn body_shapes<'a>(
    api: &Api,
    body: &'a Body,
    suffix: &str,
    shapes: &mut Vec<Shape<'a>>,
) -> Result<(), String> {
    shapes.push(Shape {
        name: format!("{}{suffix}", api.name),
        doc: format!("The body of {}'s {}", api.name, suffix.to_lowercase()),
        fields: &body.fields,
        versions: api.valid,
        is_body: true,
    });
    nested_shapes(&body.fields, api.valid, body, shapes)
}

/// Adds the structs that `fields` refer to, those described in place and those the body shares.
fn nested_shapes<'a>(
    fields: &'a [Field],
    parent: Versions,
    body: &'a Body,
    shapes: &mut Vec<Shape<'a>>,
) -> Result<(), String> {
    for field in fields {
        let name = match &field.kind {
            Kind::Struct(name) => name,
            Kind::Array(element) => match element.as_ref() {
                Kind::Struct(name) => name,
                _ => continue,
            },
            _ => continue,
        };
        let versions = field
            .versions
            .and(parent)
            .ok_or(format!("{} is in no version", field.name))?;
        let shared = body.structs.iter().find(|shared| shared.name == *name);
        let inner = match shared {
            Some(shared) if field.fields.is_empty() => shared.fields.as_slice(),
            _ => field.fields.as_slice(),
        };
        if inner.is_empty() {
            return Err(format!("{name} has no fields"));
        }
        match shapes.iter_mut().find(|shape| shape.name == *name) {
            Some(known) if known.fields != inner => return Err(format!("{name} is two structs")),
            Some(known) => known.versions = known.versions.hull(versions),
            None => shapes.push(Shape {
                name: name.clone(),
                doc: format!("What `{}` holds", field.name),
                fields: inner,
                versions,
                is_body: false,
            }),
        }
        nested_shapes(inner, versions, body, shapes)?;
    }
    Ok(())
}

/// The sizes of the smallest structs on the wire.
struct SmallestBytes<'a> {
    flexible: Option<Versions>,
    shapes: &'a [Shape<'a>],
}

impl SmallestBytes<'_> {
    fn of(&self, name: &str, version: i16) -> usize {
        let shape = self.shapes.iter().find(|shape| shape.name == name);
        shape.map_or(0, |shape| self.of_fields(shape.fields, version))
    }

    fn of_fields(&self, fields: &[Field], version: i16) -> usize {
        let flexible = self
            .flexible
            .is_some_and(|versions| versions.contains(version));
        let present = fields
            .iter()
            .filter(|f| f.tag.is_none() && f.versions.contains(version));
        let sum: usize = present
            .map(|f| smallest_bytes(f, flexible, |name| self.of(name, version)))
            .sum();
        sum + usize::from(flexible)
    }

    /// A Rust expression over `version`.
    fn expression(&self, shape: &Shape<'_>) -> String {
        // Runs of versions with one size: the first version and the size.
        let mut runs: Vec<(i16, usize)> = Vec::new();
        for version in shape.versions.first..=shape.versions.last {
            let bytes = self.of_fields(shape.fields, version);
            if runs.last().is_none_or(|(_, before)| *before != bytes) {
                runs.push((version, bytes));
            }
        }
        let [(_, first), later @ ..] = runs.as_slice() else {
            return "0".to_owned();
        };
        if later.is_empty() {
            return first.to_string();
        }
        // The latest run is asked for first.
        later
            .iter()
            .fold(format!("{{ {first} }}"), |earlier, (version, bytes)| {
                format!("if version >= {version} {{ {bytes} }} else {earlier}")
            })
    }
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
    _ = write!(
        out,
        "\n    /// {doc}, versions {versions}.\n    #[derive(Debug, Clone, PartialEq{derive})]\n    \
         pub struct {name} {{\n",
    );
    for field in shape.fields {
        let (name, kind, doc) = (field.rust_name(), rust_type(field), field_doc(field));
        _ = writeln!(out, "        /// {doc}.\n        pub {name}: {kind},");
    }
    out.push_str("    }\n");
    if !derives_default {
        _ = write!(
            out,
            "\n    impl Default for {name} {{\n        fn default() -> Self {{\n            Self {{\n"
        );
        for field in shape.fields {
            _ = writeln!(
                out,
                "                {}: {},",
                field.rust_name(),
                default_value(field)
            );
        }
        out.push_str("            }\n        }\n    }\n");
    }
}

fn implementation(
    out: &mut String,
    shape: &Shape<'_>,
    flexible: Option<Versions>,
    smallest: &SmallestBytes<'_>,
) {
    let place = |field: &Field| {
        field
            .versions
            .and(shape.versions)
            .map(|versions| Place { versions, flexible })
    };
    let (decode, encode) = (
        decode_body(shape, flexible, &place),
        encode_body(shape, flexible, &place),
    );
    let bytes = smallest.expression(shape);
    let guard = |error: &str| {
        let Versions { first, last } = shape.versions;
        let check = format!(
            "            if !({first}..={last}).contains(&version) {{\n                \
             return Err({error}::UnknownVersion(version));\n            }}\n"
        );
        if shape.is_body { check } else { String::new() }
    };
    let flag = flexible.and_then(|flexible| flexible.condition(shape.versions));
    let flag = flag.map_or(String::new(), |is| {
        format!("            let flexible = {is};\n")
    });
    let decode = format!("{}{flag}{decode}", guard("DecodeError"));
    let encode = format!("{}{flag}{encode}", guard("EncodeError"));
    _ = write!(
        out,
        "\n    impl Message for {} {{\n        fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError> \
         {{\n{decode}        }}\n\n        fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> \
         {{\n{encode}        }}\n\n        fn smallest_wire_bytes(version: i16) -> usize {{\n            {bytes}\n        \
         }}\n    }}\n",
        shape.name,
    );
}

/// The condition under which tagged fields follow, if there can be any: `None` never, `Some("")` always.
fn tags_condition(shape: &Shape<'_>, flexible: Option<Versions>) -> Option<&'static str> {
    let versions = flexible?.and(shape.versions)?;
    Some(if versions == shape.versions {
        ""
    } else {
        "if flexible "
    })
}

fn decode_body(
    shape: &Shape<'_>,
    flexible: Option<Versions>,
    place: &impl Fn(&Field) -> Option<Place>,
) -> String {
    let mut out = String::new();
    let tagged: Vec<_> = shape.fields.iter().filter(|f| f.tag.is_some()).collect();
    let keyword = if tagged.is_empty() {
        "let message"
    } else {
        "let mut message"
    };
    let condition = tags_condition(shape, flexible);
    let opening = if condition.is_some() {
        format!("{keyword} =")
    } else {
        "Ok(".to_owned()
    };
    _ = writeln!(out, "            {opening} Self {{");
    for field in shape.fields {
        let value = read_or_default(field, place(field).as_ref(), shape.versions);
        _ = writeln!(out, "                {}: {value},", field.rust_name());
    }
    let Some(condition) = condition else {
        out.push_str("            })\n");
        return out;
    };
    let mut arms = String::new();
    for field in tagged {
        let (Some(place), Some(tag)) = (place(field), field.tag) else {
            continue;
        };
        let guard = place.versions.condition(shape.versions);
        let guard = guard.map_or(String::new(), |condition| format!(" if {condition}"));
        let value = read(field, &place);
        _ = writeln!(
            arms,
            "                    {tag}{guard} => message.{} = {value},",
            field.rust_name()
        );
    }
    let call = if arms.is_empty() {
        "d.skip_tagged_fields()?;".to_owned()
    } else {
        format!(
            "d.tagged_fields(|d, tag| {{\n                match tag {{\n{arms}                    \
             _ => return Ok(false),\n                }}\n                Ok(true)\n            }})?;"
        )
    };
    let call = if condition.is_empty() {
        call
    } else {
        format!("{condition}{{ {call} }}")
    };
    _ = write!(
        out,
        "            }};\n            {call}\n            Ok(message)\n"
    );
    out
}

fn encode_body(
    shape: &Shape<'_>,
    flexible: Option<Versions>,
    place: &impl Fn(&Field) -> Option<Place>,
) -> String {
    let mut out = String::new();
    for field in shape.fields.iter().filter(|f| f.tag.is_none()) {
        let Some(place) = place(field) else { continue };
        let statement = write(field, &place);
        let statement = match place.versions.condition(shape.versions) {
            None => statement,
            Some(condition) => format!("if {condition} {{ {statement} }}"),
        };
        _ = writeln!(out, "            {statement}");
    }
    if let Some(condition) = tags_condition(shape, flexible) {
        let tags = encode_tags(shape, place);
        let tags = if condition.is_empty() {
            tags
        } else {
            format!("{condition}{{ {} }}", tags.trim())
        };
        _ = writeln!(out, "            {}", tags.trim());
    }
    out.push_str("            Ok(())\n");
    out
}

fn encode_tags(shape: &Shape<'_>, place: &impl Fn(&Field) -> Option<Place>) -> String {
    let mut tagged: Vec<_> = shape
        .fields
        .iter()
        .filter(|field| field.tag.is_some())
        .collect();
    tagged.sort_by_key(|field| field.tag);
    let (mut flags, mut sum, mut writes) = (String::new(), Vec::new(), String::new());
    for field in tagged {
        let (Some(place), Some(tag)) = (place(field), field.tag) else {
            continue;
        };
        let (written, value) = (
            is_written(field, &place, shape.versions),
            write(field, &place),
        );
        _ = writeln!(flags, "            let has_{tag} = {written};");
        sum.push(format!("u32::from(has_{tag})"));
        _ = writeln!(
            writes,
            "            if has_{tag} {{\n                e.tagged_field({tag}, |e| {{ {value} Ok(()) }})?;\n            }}"
        );
    }
    let count = if sum.is_empty() {
        "0".to_owned()
    } else {
        sum.join(" + ")
    };
    format!("{flags}            e.uvarint({count});\n{writes}")
}
