//! The bodies of the generated `decode` and `encode` functions.

use std::fmt::Write;

use crate::model::Field;
use crate::shape::{Shape, Shapes};
use crate::wire::{is_written, read, read_or_default, write};

/// How a struct's tagged fields depend on the version.
enum Tags {
    Never,
    Always,
    InFlexibleVersions,
}

fn tags(shapes: &Shapes<'_>, shape: &Shape<'_>) -> Tags {
    match shapes
        .flexible
        .and_then(|flexible| flexible.and(shape.versions))
    {
        None => Tags::Never,
        Some(versions) if versions == shape.versions => Tags::Always,
        Some(_) => Tags::InFlexibleVersions,
    }
}

/// What stands at the start of both functions: the check of the version and the flag the fields ask for.
fn prologue(shapes: &Shapes<'_>, shape: &Shape<'_>, error: &str) -> String {
    let mut out = String::new();
    if shape.is_body {
        let (first, last) = (shape.versions.first, shape.versions.last);
        _ = writeln!(
            out,
            "if !({first}..={last}).contains(&version) {{ return Err({error}::UnknownVersion(version)); }}"
        );
    }
    if let Tags::InFlexibleVersions = tags(shapes, shape) {
        let condition = shapes
            .flexible
            .and_then(|flexible| flexible.condition(shape.versions));
        _ = writeln!(out, "let flexible = {};", condition.unwrap_or_default());
    }
    out
}

/// The statements that read a struct.
pub(crate) fn decode(shapes: &Shapes<'_>, shape: &Shape<'_>) -> String {
    let mut literal = String::new();
    for field in shape.fields {
        let place = shapes.place(shape, field);
        let value = read_or_default(field, place.as_ref(), shape.versions);
        _ = writeln!(literal, "{}: {value},", field.rust_name());
    }
    let prologue = prologue(shapes, shape, "DecodeError");
    let read_tags = decode_tags(shapes, shape);
    let mutable = if shape.fields.iter().any(|f| f.tag.is_some()) {
        "mut "
    } else {
        ""
    };
    match tags(shapes, shape) {
        Tags::Never => format!("{prologue}Ok(Self {{\n{literal}}})\n"),
        Tags::Always => format!(
            "{prologue}let {mutable}message = Self {{\n{literal}}};\n{read_tags}\nOk(message)\n"
        ),
        Tags::InFlexibleVersions => format!(
            "{prologue}let {mutable}message = Self {{\n{literal}}};\nif flexible {{ {read_tags} }}\nOk(message)\n"
        ),
    }
}

fn decode_tags(shapes: &Shapes<'_>, shape: &Shape<'_>) -> String {
    let mut arms = String::new();
    for field in shape.fields {
        let (Some(place), Some(tag)) = (shapes.place(shape, field), field.tag) else {
            continue;
        };
        let guard = place.versions.condition(shape.versions);
        let guard = guard.map_or(String::new(), |condition| format!(" if {condition}"));
        let value = read(field, &place);
        _ = writeln!(
            arms,
            "{tag}{guard} => message.{} = {value},",
            field.rust_name()
        );
    }
    if arms.is_empty() {
        return "d.skip_tagged_fields()?;".to_owned();
    }
    let body = format!("match tag {{\n{arms}_ => return Ok(false),\n}}\nOk(true)");
    format!("d.tagged_fields(|d, tag| {{\n{body}\n}})?;")
}

/// The statements that write a struct.
pub(crate) fn encode(shapes: &Shapes<'_>, shape: &Shape<'_>) -> String {
    let mut out = prologue(shapes, shape, "EncodeError");
    for field in shape.fields.iter().filter(|f| f.tag.is_none()) {
        let Some(place) = shapes.place(shape, field) else {
            continue;
        };
        let statement = write(field, &place);
        match place.versions.condition(shape.versions) {
            None => _ = writeln!(out, "{statement}"),
            Some(condition) => _ = writeln!(out, "if {condition} {{ {statement} }}"),
        }
    }
    match tags(shapes, shape) {
        Tags::Never => {}
        Tags::Always => out.push_str(&encode_tags(shapes, shape)),
        Tags::InFlexibleVersions => {
            _ = writeln!(
                out,
                "if flexible {{ {} }}",
                encode_tags(shapes, shape).trim()
            );
        }
    }
    out.push_str("Ok(())\n");
    out
}

fn encode_tags(shapes: &Shapes<'_>, shape: &Shape<'_>) -> String {
    let mut tagged: Vec<&Field> = shape.fields.iter().filter(|f| f.tag.is_some()).collect();
    tagged.sort_by_key(|field| field.tag);
    let (mut flags, mut counts, mut writes) = (String::new(), Vec::new(), String::new());
    for field in tagged {
        let (Some(place), Some(tag)) = (shapes.place(shape, field), field.tag) else {
            continue;
        };
        let (written, value) = (
            is_written(field, &place, shape.versions),
            write(field, &place),
        );
        _ = writeln!(flags, "let has_{tag} = {written};");
        counts.push(format!("u32::from(has_{tag})"));
        _ = writeln!(
            writes,
            "if has_{tag} {{ e.tagged_field({tag}, |e| {{ {value} Ok(()) }})?; }}"
        );
    }
    let count = if counts.is_empty() {
        "0".to_owned()
    } else {
        counts.join(" + ")
    };
    format!("{flags}e.uvarint({count});\n{writes}")
}
