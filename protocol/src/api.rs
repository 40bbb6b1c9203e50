//! The APIs Floe has and the versions of each, one table: ApiVersions, dispatch and header layouts follow from it.
//! The table is generated from the heads of the schema files (`protocol/schema`).

use std::ops::RangeInclusive;

include!(concat!(env!("OUT_DIR"), "/api.rs"));

/// What the head of a schema file says.
struct Api {
    name: &'static str,
    // The versions ApiVersions lists.
    advertised: RangeInclusive<i16>,
    // The versions the schema describes; a subset of the above.
    decodable: RangeInclusive<i16>,
    first_flexible: Option<i16>,
}

impl ApiKey {
    /// The key as an int16 of the wire.
    #[must_use]
    pub const fn to_wire(self) -> i16 {
        self as i16
    }

    /// Kafka's name of the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.api().name
    }

    /// The versions ApiVersions lists.
    #[must_use]
    pub fn valid_versions(self) -> RangeInclusive<i16> {
        self.api().advertised
    }

    /// The versions that can be decoded. Produce 0-2 are advertised for the sake of old clients but not decoded:
    /// such a request closes the connection, as in Kafka 4.
    #[must_use]
    pub fn decodable_versions(self) -> RangeInclusive<i16> {
        self.api().decodable
    }

    /// Whether a request of `version` can be decoded.
    #[must_use]
    pub fn can_decode(self, version: i16) -> bool {
        self.api().decodable.contains(&version)
    }

    /// The first version with compact types and tagged fields (KIP-482), if there is one.
    #[must_use]
    pub fn first_flexible(self) -> Option<i16> {
        self.api().first_flexible
    }

    /// Whether `version` has compact types and tagged fields.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        self.first_flexible().is_some_and(|first| version >= first)
    }

    /// The version of the request header: 2 with tagged fields, else 1.
    #[must_use]
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of the response header: 1 with tagged fields, else 0. ApiVersions always has 0, since the
    /// client does not know yet which versions the broker speaks (KIP-511).
    #[must_use]
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self.is_flexible(version) && self != Self::ApiVersions)
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
