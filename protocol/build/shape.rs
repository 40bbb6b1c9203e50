//! The structs of an API as Rust will have them: each once, with the versions in which it can occur.

use crate::model::{Api, Body, Field, Kind};
use crate::versions::Versions;
use crate::wire::{Place, smallest_bytes};

/// A struct of Rust.
pub(crate) struct Shape<'a> {
    /// Its name.
    pub(crate) name: String,
    /// What it is, without a full stop.
    pub(crate) doc: String,
    /// Its fields in wire order.
    pub(crate) fields: &'a [Field],
    /// The versions in which it can occur.
    pub(crate) versions: Versions,
    /// Whether it is a request or a response, whose version is checked.
    pub(crate) is_body: bool,
}

/// The structs of an API, outer ones first.
pub(crate) struct Shapes<'a> {
    /// Request, its structs, response, its structs.
    pub(crate) all: Vec<Shape<'a>>,
    /// The versions with compact types and tagged fields.
    pub(crate) flexible: Option<Versions>,
}

impl<'a> Shapes<'a> {
    /// Collects the structs of `api`.
    pub(crate) fn of(api: &'a Api) -> Result<Self, String> {
        let mut shapes = Self {
            all: Vec::new(),
            flexible: api.flexible,
        };
        for (body, what) in [(&api.request, "Request"), (&api.response, "Response")] {
            shapes.all.push(Shape {
                name: format!("{}{what}", api.name),
                doc: format!("The {} of {}", what.to_lowercase(), api.name),
                fields: &body.fields,
                versions: api.valid,
                is_body: true,
            });
            shapes.add_nested(&body.fields, api.valid, body)?;
        }
        Ok(shapes)
    }

    /// Adds the structs that `fields` refer to, those described in place and those the body shares.
    fn add_nested(
        &mut self,
        fields: &'a [Field],
        parent: Versions,
        body: &'a Body,
    ) -> Result<(), String> {
        for field in fields {
            let Some(name) = struct_name(&field.kind) else {
                continue;
            };
            let versions = field.versions.and(parent);
            let versions = versions.ok_or(format!("{} is in no version", field.name))?;
            let shared = body.structs.iter().find(|shared| shared.name == *name);
            let inner = match shared {
                Some(shared) if field.fields.is_empty() => shared.fields.as_slice(),
                _ => field.fields.as_slice(),
            };
            if inner.is_empty() {
                return Err(format!("{name} has no fields"));
            }
            match self.all.iter_mut().find(|shape| shape.name == *name) {
                Some(known) if known.fields != inner => {
                    return Err(format!("{name} is two structs"));
                }
                Some(known) => known.versions = known.versions.hull(versions),
                None => self.all.push(Shape {
                    name: name.to_owned(),
                    doc: format!("What `{}` holds", field.name),
                    fields: inner,
                    versions,
                    is_body: false,
                }),
            }
            self.add_nested(inner, versions, body)?;
        }
        Ok(())
    }

    /// Where `field` of `shape` stands; `None` if it is in none of the shape's versions.
    pub(crate) fn place(&self, shape: &Shape<'_>, field: &Field) -> Option<Place> {
        let versions = field.versions.and(shape.versions)?;
        Some(Place {
            versions,
            flexible: self.flexible,
        })
    }

    fn smallest_of(&self, name: &str, version: i16) -> usize {
        let shape = self.all.iter().find(|shape| shape.name == name);
        shape.map_or(0, |shape| self.smallest_of_fields(shape.fields, version))
    }

    fn smallest_of_fields(&self, fields: &[Field], version: i16) -> usize {
        let flexible = self
            .flexible
            .is_some_and(|versions| versions.contains(version));
        let present = fields
            .iter()
            .filter(|f| f.tag.is_none() && f.versions.contains(version));
        let bytes = |f| smallest_bytes(f, flexible, |name| self.smallest_of(name, version));
        present.map(bytes).sum::<usize>() + usize::from(flexible)
    }

    /// A Rust expression over `version`: the fewest bytes `shape` takes on the wire.
    pub(crate) fn smallest_bytes(&self, shape: &Shape<'_>) -> String {
        // Runs of versions with one size: the first version and the size.
        let mut runs: Vec<(i16, usize)> = Vec::new();
        for version in shape.versions.first..=shape.versions.last {
            let bytes = self.smallest_of_fields(shape.fields, version);
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

fn struct_name(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Struct(name) => Some(name),
        Kind::Array(element) => struct_name(element),
        Kind::Fixed(..) | Kind::String | Kind::Bytes | Kind::Records => None,
    }
}
