//! Kafka's messages as JSON, by the schema text of the protocol crate and nothing else of it: what the broker's own
//! codec gets wrong, this one does not get wrong in the same way.

use serde_json::{Map, Value, json};

use crate::model::{Api, Body, Field, Kind};
use crate::records;

/// Why a message could not be written or read.
pub(crate) type Fault = String;

/// A request's body for a version. Fields that `value` lacks have their defaults.
pub(crate) fn encode(api: &Api, version: i16, value: &Value) -> Result<Vec<u8>, Fault> {
    let mut writer = Writer {
        body: &api.request,
        version,
        flexible: api.flexible.is_some_and(|it| it.contains(version)),
        bytes: Vec::new(),
    };
    writer.fields(&api.request.fields, value)?;
    Ok(writer.bytes)
}

/// A response's body of a version.
pub(crate) fn decode(api: &Api, version: i16, bytes: &[u8]) -> Result<Value, Fault> {
    let mut reader = Reader {
        body: &api.response,
        version,
        flexible: api.flexible.is_some_and(|it| it.contains(version)),
        rest: bytes,
    };
    let value = reader.fields(&api.response.fields)?;
    match reader.rest {
        [] => Ok(value),
        rest => Err(format!("{} bytes behind the response", rest.len())),
    }
}

/// The fields of a struct, which stand below the field or before all fields.
fn fields_of<'a>(body: &'a Body, name: &str, field: &'a Field) -> &'a [Field] {
    let shared = body.structs.iter().find(|it| it.name == name);
    match shared {
        Some(shared) if field.fields.is_empty() => &shared.fields,
        _ => &field.fields,
    }
}

/// Unsigned LEB128, as compact lengths and tags have it.
pub(crate) fn put_uvarint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    bytes.push(low_bits(value));
}

fn low_bits(value: u64) -> u8 {
    u8::try_from(value & 0x7f).unwrap_or_default()
}

struct Writer<'a> {
    body: &'a Body,
    version: i16,
    flexible: bool,
    bytes: Vec<u8>,
}

impl Writer<'_> {
    fn fields(&mut self, fields: &[Field], value: &Value) -> Result<(), Fault> {
        let object = value
            .as_object()
            .ok_or_else(|| format!("no struct: {value}"))?;
        let known = |name: &str| fields.iter().any(|field| field.name == name);
        if let Some(stranger) = object.keys().find(|name| !known(name)) {
            return Err(format!("there is no field {stranger}"));
        }
        let present = fields
            .iter()
            .filter(|it| it.versions.contains(self.version));
        let (tagged, plain): (Vec<_>, Vec<_>) = present.partition(|field| field.tag.is_some());
        for field in plain {
            let value = object.get(&field.name).cloned();
            self.field(field, &value.unwrap_or_else(|| default_of(field)))?;
        }
        if self.flexible {
            let given = tagged
                .iter()
                .filter_map(|it| Some((it, object.get(&it.name)?)));
            let given: Vec<_> = given.collect();
            put_uvarint(&mut self.bytes, given.len() as u64);
            for (field, value) in given {
                let before = std::mem::take(&mut self.bytes);
                self.field(field, value)?;
                let content = std::mem::replace(&mut self.bytes, before);
                put_uvarint(&mut self.bytes, u64::from(field.tag.unwrap_or_default()));
                put_uvarint(&mut self.bytes, content.len() as u64);
                self.bytes.extend(content);
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, value: &Value) -> Result<(), Fault> {
        let written = self.value(field, &field.kind, value);
        written.map_err(|why| format!("{}: {why}", field.name))
    }

    fn value(&mut self, field: &Field, kind: &Kind, value: &Value) -> Result<(), Fault> {
        match kind {
            Kind::Fixed(name, size) => self.fixed(name, *size, value),
            Kind::String => self.sized(value.as_str().map(|text| text.as_bytes().to_vec()), 2),
            Kind::Bytes => self.sized(records::raw(value)?, 4),
            Kind::Records => self.sized(records::build(value)?, 4),
            Kind::Struct(name) => {
                let is_nullable = field.nullable.is_some();
                if is_nullable {
                    self.bytes.push(if value.is_null() { 0xff } else { 1 });
                }
                if value.is_null() && is_nullable {
                    return Ok(());
                }
                self.fields(fields_of(self.body, name, field), value)
            }
            Kind::Array(element) => {
                let elements = value.as_array();
                self.length(elements.map(Vec::len), 4)?;
                for element_value in elements.into_iter().flatten() {
                    match &**element {
                        Kind::Struct(name) => {
                            self.fields(fields_of(self.body, name, field), element_value)?;
                        }
                        simple => self.value(field, simple, element_value)?,
                    }
                }
                Ok(())
            }
        }
    }

    fn fixed(&mut self, name: &str, size: usize, value: &Value) -> Result<(), Fault> {
        match name {
            "bool" => self.bytes.push(u8::from(value.as_bool().ok_or("no bool")?)),
            "f64" => {
                let number = value.as_f64().ok_or("no number")?;
                self.bytes.extend(number.to_be_bytes());
            }
            "Uuid" => self
                .bytes
                .extend(uuid_bytes(value.as_str().ok_or("no uuid")?)?),
            _ => {
                let number = value
                    .as_i64()
                    .ok_or_else(|| format!("no number: {value}"))?;
                let bytes = number.to_be_bytes();
                self.bytes.extend(bytes.iter().skip(8 - size));
            }
        }
        Ok(())
    }

    fn length(&mut self, length: Option<usize>, plain_bytes: usize) -> Result<(), Fault> {
        if self.flexible {
            put_uvarint(
                &mut self.bytes,
                length.map_or(0, |length| length as u64 + 1),
            );
            return Ok(());
        }
        let length = length
            .map_or(Ok(-1), i64::try_from)
            .map_err(|_| "too long")?;
        let bytes = length.to_be_bytes();
        self.bytes.extend(bytes.iter().skip(8 - plain_bytes));
        Ok(())
    }

    fn sized(&mut self, content: Option<Vec<u8>>, plain_bytes: usize) -> Result<(), Fault> {
        self.length(content.as_ref().map(Vec::len), plain_bytes)?;
        self.bytes.extend(content.unwrap_or_default());
        Ok(())
    }
}

fn default_of(field: &Field) -> Value {
    match (&field.kind, field.default.as_deref()) {
        (_, Some("null")) | (Kind::Records, None) => Value::Null,
        (Kind::Fixed("bool", _), default) => json!(default == Some("true")),
        (Kind::Fixed("Uuid", _), _) => json!("00000000-0000-0000-0000-000000000000"),
        (Kind::Fixed(..), default) => {
            json!(default.and_then(|it| it.parse::<i64>().ok()).unwrap_or(0))
        }
        (Kind::Struct(_), _) => json!({}),
        (Kind::Array(_), _) => json!([]),
        (_, default) => json!(default.unwrap_or_default()),
    }
}

fn uuid_bytes(text: &str) -> Result<Vec<u8>, Fault> {
    let digits: String = text.chars().filter(|letter| *letter != '-').collect();
    match records::from_hex(&digits) {
        Some(bytes) if bytes.len() == 16 => Ok(bytes),
        _ => Err(format!("no uuid: {text}")),
    }
}

struct Reader<'a, 'b> {
    body: &'a Body,
    version: i16,
    flexible: bool,
    rest: &'b [u8],
}

impl<'b> Reader<'_, 'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or("cut short")?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize, is_signed: bool) -> Result<i64, Fault> {
        let taken = self.take(bytes)?;
        let negative = is_signed && taken.first().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1 } else { 0 };
        Ok(taken
            .iter()
            .fold(start, |sum, byte| (sum << 8) | i64::from(*byte)))
    }

    fn uvarint(&mut self) -> Result<usize, Fault> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.number(1, false)?;
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).map_err(|why| why.to_string());
            }
        }
        Err("a varint of more than five bytes".to_owned())
    }

    fn length(&mut self, plain_bytes: usize) -> Result<Option<usize>, Fault> {
        if self.flexible {
            return Ok(self.uvarint()?.checked_sub(1));
        }
        Ok(usize::try_from(self.number(plain_bytes, true)?).ok())
    }

    fn sized(&mut self, plain_bytes: usize) -> Result<Option<&'b [u8]>, Fault> {
        let length = self.length(plain_bytes)?;
        length.map(|length| self.take(length)).transpose()
    }

    fn fields(&mut self, fields: &[Field]) -> Result<Value, Fault> {
        let mut object = Map::new();
        let version = self.version;
        let present = || {
            fields
                .iter()
                .filter(move |it| it.versions.contains(version))
        };
        for field in present().filter(|it| it.tag.is_none()) {
            let value = self.value(field, &field.kind);
            let value = value.map_err(|why| format!("{}: {why}", field.name))?;
            object.insert(field.name.clone(), value);
        }
        if self.flexible {
            for _ in 0..self.uvarint()? {
                let (tag, size) = (self.uvarint()?, self.uvarint()?);
                let content = self.take(size)?;
                let mut known = present().filter_map(|it| Some((it, it.tag?)));
                let known = known.find(|(_, known)| usize::try_from(*known) == Ok(tag));
                let Some((field, _)) = known else {
                    object.insert(format!("tag {tag}"), json!(records::to_text(content)));
                    continue;
                };
                let after = std::mem::replace(&mut self.rest, content);
                let value = self.value(field, &field.kind)?;
                self.rest = after;
                object.insert(field.name.clone(), value);
            }
        }
        Ok(Value::Object(object))
    }

    fn value(&mut self, field: &Field, kind: &Kind) -> Result<Value, Fault> {
        Ok(match kind {
            Kind::Fixed("bool", _) => json!(self.number(1, false)? != 0),
            Kind::Fixed("f64", _) => {
                json!(f64::from_bits(self.number(8, true)?.cast_unsigned()))
            }
            Kind::Fixed("Uuid", _) => json!(uuid_text(self.take(16)?)),
            Kind::Fixed(name, size) => json!(self.number(*size, name.starts_with('i'))?),
            Kind::String => match self.sized(2)? {
                Some(bytes) => json!(String::from_utf8_lossy(bytes)),
                None => Value::Null,
            },
            Kind::Bytes => self
                .sized(4)?
                .map_or(Value::Null, |it| json!(records::to_text(it))),
            Kind::Records => self.sized(4)?.map_or(Ok(Value::Null), records::read)?,
            Kind::Struct(name) => {
                if field.nullable.is_some() && self.number(1, true)? < 0 {
                    return Ok(Value::Null);
                }
                self.fields(fields_of(self.body, name, field))?
            }
            Kind::Array(element) => {
                let Some(count) = self.length(4)? else {
                    return Ok(Value::Null);
                };
                let mut elements = Vec::new();
                for _ in 0..count {
                    elements.push(match &**element {
                        Kind::Struct(name) => self.fields(fields_of(self.body, name, field))?,
                        simple => self.value(field, simple)?,
                    });
                }
                Value::Array(elements)
            }
        })
    }
}

fn uuid_text(bytes: &[u8]) -> String {
    let digits = records::to_hex(bytes);
    let at = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default().to_owned();
    [at(0..8), at(8..12), at(12..16), at(16..20), at(20..32)].join("-")
}
