//! What a schema file says, before any Rust is made of it.

use crate::versions::Versions;

/// One API: a request and its response.
#[derive(Debug)]
pub(crate) struct Api {
    /// The API key of the wire.
    pub(crate) key: i16,
    /// Kafka's name in camel case, `ListOffsets`.
    pub(crate) name: String,
    /// The versions the fields describe.
    pub(crate) valid: Versions,
    /// The versions ApiVersions lists.
    pub(crate) advertised: Versions,
    /// The versions with compact types and tagged fields.
    pub(crate) flexible: Option<Versions>,
    /// The request.
    pub(crate) request: Body,
    /// The response.
    pub(crate) response: Body,
}

/// A request or response.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// Structs that several fields share.
    pub(crate) structs: Vec<Struct>,
    /// The fields in wire order.
    pub(crate) fields: Vec<Field>,
}

/// A named struct outside of a field.
#[derive(Debug)]
pub(crate) struct Struct {
    /// Kafka's name.
    pub(crate) name: String,
    /// The fields in wire order.
    pub(crate) fields: Vec<Field>,
}

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Kafka's name in camel case.
    pub(crate) name: String,
    /// Its type; a struct has the name it has in Rust.
    pub(crate) kind: Kind,
    /// The versions that have the field.
    pub(crate) versions: Versions,
    /// The versions in which it may be null.
    pub(crate) nullable: Option<Versions>,
    /// The tag, for a tagged field.
    pub(crate) tag: Option<u32>,
    /// The default as written, if it is not the type's own.
    pub(crate) default: Option<String>,
    /// The fields of a struct that is described here.
    pub(crate) fields: Vec<Self>,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A type of fixed size: its Rust name and its size in bytes.
    Fixed(&'static str, usize),
    /// A UTF-8 string.
    String,
    /// Bytes.
    Bytes,
    /// Record batches.
    Records,
    /// A struct.
    Struct(String),
    /// An array; arrays do not nest.
    Array(Box<Self>),
}

impl Field {
    /// Whether the value is an `Option` in Rust. Records always are.
    pub(crate) fn is_optional(&self) -> bool {
        self.nullable.is_some() || self.kind == Kind::Records
    }

    /// The name of the field in Rust.
    pub(crate) fn rust_name(&self) -> String {
        let name = snake_case(&self.name);
        match name.as_str() {
            "type" | "match" | "ref" | "move" | "self" | "use" | "where" | "loop" => name + "_",
            _ => name,
        }
    }
}

/// `ListOffsets` as `list_offsets`; a run of capitals is one word.
pub(crate) fn snake_case(camel: &str) -> String {
    let mut snake = String::new();
    let mut previous = None;
    let mut letters = camel.chars().peekable();
    while let Some(letter) = letters.next() {
        let starts_word = previous.is_some_and(|before: char| !before.is_uppercase())
            || letters.peek().is_some_and(|after| after.is_lowercase());
        if letter.is_uppercase() && previous.is_some() && starts_word {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
        previous = Some(letter);
    }
    snake
}
