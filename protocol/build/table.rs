//! Emits `api.rs`: the enum of API keys and its table.

use std::fmt::Write;

use crate::model::Api;
use crate::versions::Versions;

fn range(versions: Versions) -> String {
    format!("{}..={}", versions.first, versions.last)
}

/// The enum `ApiKey`, in order of the keys, with `ALL`, `from_wire` and the table row of each.
pub(crate) fn api_keys(apis: &[Api]) -> String {
    let (mut variants, mut all) = (String::new(), String::new());
    let (mut from_wire, mut rows) = (String::new(), String::new());
    for Api {
        key,
        name,
        valid,
        advertised,
        flexible,
        ..
    } in apis
    {
        let first = flexible.map_or("None".to_owned(), |versions| {
            format!("Some({})", versions.first)
        });
        _ = writeln!(
            variants,
            "    /// {name}, versions {advertised}.\n    {name} = {key},"
        );
        _ = writeln!(all, "        Self::{name},");
        _ = writeln!(from_wire, "            {key} => Some(Self::{name}),");
        _ = writeln!(
            rows,
            "            Self::{name} => Api {{ name: \"{name}\", advertised: {}, decodable: {}, \
             first_flexible: {first} }},",
            range(*advertised),
            range(*valid),
        );
    }
    format!(
        "/// The APIs Floe has, each with its key as its value.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i16)]\npub enum ApiKey {{\n{variants}}}\n\n\
         impl ApiKey {{\n    /// All keys, ascending.\n    pub const ALL: [Self; {}] = [\n{all}    ];\n\n    \
         /// The API of a key from the wire, if Floe has it.\n    #[must_use]\n    \
         pub const fn from_wire(key: i16) -> Option<Self> {{\n        match key {{\n{from_wire}            \
         _ => None,\n        }}\n    }}\n\n    fn api(self) -> Api {{\n        match self {{\n{rows}        \
         }}\n    }}\n}}\n",
        apis.len(),
    )
}
