//! Reads the schema text. The grammar is in `schema/README.md`; indentation of two spaces is nesting.

use crate::model::{Api, Body, Field, Kind, Struct};
use crate::versions::Versions;

/// A line of the text without its indentation.
struct Line<'a> {
    number: usize,
    depth: usize,
    text: &'a str,
}

impl Line<'_> {
    fn error(&self, what: &str) -> String {
        format!("line {}: {what}: `{}`", self.number, self.text)
    }
}

/// Reads one file.
pub(crate) fn parse(text: &str) -> Result<Api, String> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let depth = (line.len() - line.trim_start().len()) / 2;
        lines.push(Line {
            number: index + 1,
            depth,
            text,
        });
    }
    let mut rest = lines.as_slice();
    let (key, name) = head(&mut rest, "api")?
        .and_then(|value| value.split_once(' '))
        .ok_or("the first line is `api KEY NAME`")?;
    let valid = Versions::parse(head(&mut rest, "versions")?.ok_or("`versions` is missing")?)?;
    let advertised = head(&mut rest, "advertised")?
        .map(Versions::parse)
        .transpose()?;
    let flexible = match head(&mut rest, "flexible")?.ok_or("`flexible` is missing")? {
        "none" => None,
        versions => Some(Versions::parse(versions)?),
    };
    let request = body(&mut rest, "request")?;
    let response = body(&mut rest, "response")?;
    if let [extra, ..] = rest {
        return Err(extra.error("nothing is expected after the response"));
    }
    Ok(Api {
        key: key.parse().map_err(|_| format!("key `{key}`"))?,
        name: name.to_owned(),
        valid,
        advertised: advertised.unwrap_or(valid),
        flexible,
        request,
        response,
    })
}

/// The rest of the next line if it starts with `word`.
fn head<'a>(rest: &mut &[Line<'a>], word: &str) -> Result<Option<&'a str>, String> {
    let [line, tail @ ..] = *rest else {
        return Err(format!("`{word}` is missing"));
    };
    let Some(value) = line
        .text
        .strip_prefix(word)
        .and_then(|text| text.strip_prefix(' '))
    else {
        return Ok(None);
    };
    *rest = tail;
    Ok(Some(value))
}

fn body(rest: &mut &[Line<'_>], word: &str) -> Result<Body, String> {
    let [line, tail @ ..] = *rest else {
        return Err(format!("`{word}` is missing"));
    };
    if line.depth != 0 || line.text != word {
        return Err(line.error(&format!("`{word}` is expected")));
    }
    *rest = tail;
    let mut body = Body::default();
    while let [line, tail @ ..] = *rest {
        let Some(text) = line.text.strip_prefix("struct ") else {
            break;
        };
        let (name, versions) = text
            .split_once(' ')
            .ok_or_else(|| line.error("no versions"))?;
        Versions::parse(versions).map_err(|e| line.error(&e))?;
        *rest = tail;
        body.structs.push(Struct {
            name: name.to_owned(),
            fields: fields(rest, 2)?,
        });
    }
    body.fields = fields(rest, 1)?;
    Ok(body)
}

/// The fields at `depth`, each with those below it.
fn fields(rest: &mut &[Line<'_>], depth: usize) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    while let [line, tail @ ..] = *rest {
        if line.depth < depth {
            break;
        }
        if line.depth > depth {
            return Err(line.error("indented too far"));
        }
        *rest = tail;
        let mut field = field(line)?;
        field.fields = self::fields(rest, depth + 1)?;
        fields.push(field);
    }
    Ok(fields)
}

fn field(line: &Line<'_>) -> Result<Field, String> {
    let missing = || line.error("`Name: type versions` is expected");
    let (name, facts) = line.text.split_once(": ").ok_or_else(missing)?;
    let mut words = facts.split(' ');
    let mut kind_word = words.next().ok_or_else(missing)?.to_owned();
    let mut word = words.next().ok_or_else(missing)?;
    if word == "as" {
        let renamed = words.next().ok_or_else(missing)?;
        let array = if kind_word.starts_with("[]") {
            "[]"
        } else {
            ""
        };
        kind_word = format!("{array}{renamed}");
        word = words.next().ok_or_else(missing)?;
    }
    let versions = |text: &str| Versions::parse(text).map_err(|e| line.error(&e));
    let mut field = Field {
        name: name.to_owned(),
        kind: kind(&kind_word),
        versions: versions(word)?,
        nullable: None,
        tag: None,
        default: None,
        fields: Vec::new(),
    };
    while let Some(fact) = words.next() {
        let value = words.next().ok_or_else(missing)?;
        match fact {
            "null" => field.nullable = Some(versions(value)?),
            "tag" => {
                field.tag = Some(value.parse().map_err(|_| line.error("no tag"))?);
                if versions(words.next().ok_or_else(missing)?)? != field.versions {
                    return Err(line.error("a field is tagged in all its versions or in none"));
                }
            }
            "default" => field.default = Some(value.to_owned()),
            _ => return Err(line.error("unknown word")),
        }
    }
    Ok(field)
}

fn kind(word: &str) -> Kind {
    if let Some(element) = word.strip_prefix("[]") {
        return Kind::Array(Box::new(kind(element)));
    }
    match word {
        "bool" => Kind::Fixed("bool", 1),
        "int8" => Kind::Fixed("i8", 1),
        "int16" => Kind::Fixed("i16", 2),
        "uint16" => Kind::Fixed("u16", 2),
        "int32" => Kind::Fixed("i32", 4),
        "uint32" => Kind::Fixed("u32", 4),
        "int64" => Kind::Fixed("i64", 8),
        "float64" => Kind::Fixed("f64", 8),
        "uuid" => Kind::Fixed("Uuid", 16),
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "records" => Kind::Records,
        name => Kind::Struct(name.to_owned()),
    }
}
