//! Whom a quota is for: a user, a client id, both, or an address; each by name or as the default of its kind. Codes
//! and words are those of Kafka 4.2's controller.

use std::collections::BTreeMap;
use std::net::IpAddr;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_client_quotas::ComponentData;

use crate::error::Failure;

const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";
const USER: &str = "user";

/// What may be limited for users and client ids, and whether it is counted in whole numbers.
const KEYS: &[(&str, bool)] = &[
    ("consumer_byte_rate", true),
    ("controller_mutation_rate", false),
    ("producer_byte_rate", true),
    ("request_percentage", false),
];
/// The same for addresses.
const IP_KEYS: &[(&str, bool)] = &[("connection_creation_rate", true)];

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}

/// Whom a quota is for: names by kind, `None` for the default of that kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entity(BTreeMap<String, Option<String>>);

impl Entity {
    /// # Errors
    /// Nothing is named, something twice or without a name, a kind that is unknown, or kinds that do not go
    /// together.
    pub(super) fn new<'a>(
        parts: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, Failure> {
        let mut entity = BTreeMap::new();
        for (kind, name) in parts {
            if entity.contains_key(kind) {
                let message = format!("Invalid client quota entity, duplicate entity entry {kind}");
                return Err(invalid(message));
            }
            if ![CLIENT_ID, IP, USER].contains(&kind) {
                return Err(invalid(format!(
                    "Unhandled client quota entity type: {kind}"
                )));
            }
            if name.is_some_and(str::is_empty) {
                return Err(invalid(format!("Empty {kind} not supported")));
            }
            entity.insert(kind.to_owned(), name.map(str::to_owned));
        }
        if entity.is_empty() {
            return Err(invalid("Invalid empty client quota entity"));
        }
        if entity.contains_key(IP) {
            if entity.len() > 1 {
                return Err(invalid(
                    "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId",
                ));
            }
            let address = entity.get(IP).and_then(Option::as_deref);
            if let Some(address) = address.filter(|it| it.parse::<IpAddr>().is_err()) {
                return Err(invalid(format!(
                    "{address} is not a valid IP or resolvable host."
                )));
            }
        }
        Ok(Self(entity))
    }

    /// One name for all of it, by which it is kept: `client-id,user=alice` for the default client id of a user.
    pub(super) fn name(&self) -> String {
        let part = |(kind, name): (&String, &Option<String>)| match name {
            Some(name) => format!("{kind}={}", escaped(name)),
            None => kind.clone(),
        };
        self.0.iter().map(part).collect::<Vec<_>>().join(",")
    }

    /// The entity that is kept under this name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let part = |part: &str| match part.split_once('=') {
            Some((kind, name)) => Some((kind.to_owned(), Some(unescaped(name)?))),
            None => Some((part.to_owned(), None)),
        };
        name.split(',').map(part).collect::<Option<_>>().map(Self)
    }

    /// Kinds and names, by kind.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let parts = self.0.iter();
        parts.map(|(kind, name)| (kind.as_str(), name.as_deref()))
    }
}

fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace(',', "%2C")
}

fn unescaped(name: &str) -> Option<String> {
    let mut parts = name.split('%');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (c, rest) = match (part.strip_prefix("25"), part.strip_prefix("2C")) {
            (Some(rest), _) => ('%', rest),
            (None, Some(rest)) => (',', rest),
            (None, None) => return None,
        };
        out.push(c);
        out.push_str(rest);
    }
    Some(out)
}

fn keys(entity: &Entity) -> &'static [(&'static str, bool)] {
    match entity.0.contains_key(IP) {
        true => IP_KEYS,
        false => KEYS,
    }
}

/// Whether `key` can be limited for `entity`.
///
/// # Errors
/// It cannot.
pub(super) fn check_key(entity: &Entity, key: &str) -> Result<(), Failure> {
    if keys(entity).iter().any(|(known, _)| *known == key) {
        return Ok(());
    }
    Err(invalid(format!("Invalid configuration key {key}")))
}

/// A limit as it is kept.
///
/// # Errors
/// It is not above zero, or no whole number where one is needed.
pub(super) fn check_value(key: &str, value: f64) -> Result<String, Failure> {
    let mut all = KEYS.iter().chain(IP_KEYS);
    let is_whole = all.any(|(known, is_whole)| *known == key && *is_whole);
    if !value.is_finite() || value <= 0.0 {
        return Err(invalid(format!("Quota {key} must be greater than 0")));
    }
    if is_whole && value.fract() > 1e-6 {
        return Err(invalid(format!("{key} cannot be a fractional value.")));
    }
    Ok(value.to_string())
}

/// Which entities a client asks for.
#[derive(Debug)]
pub(super) struct Filter {
    exact: BTreeMap<String, Option<String>>,
    any: Vec<String>,
    is_strict: bool,
}

impl Filter {
    /// # Errors
    /// A kind that is unknown or named twice, or a match that makes no sense.
    pub(super) fn of(components: &[ComponentData], is_strict: bool) -> Result<Self, Failure> {
        let mut filter = Self {
            exact: BTreeMap::new(),
            any: Vec::new(),
            is_strict,
        };
        for component in components {
            let kind = component.entity_type.to_string();
            if kind.is_empty() {
                return Err(invalid("Invalid empty entity type."));
            }
            if filter.exact.contains_key(&kind) || filter.any.contains(&kind) {
                let message =
                    format!("Entity type {kind} cannot appear more than once in the filter.");
                return Err(invalid(message));
            }
            if ![CLIENT_ID, IP, USER].contains(&kind.as_str()) {
                let message = format!("Unsupported entity type {kind}");
                return Err(Failure::new(ErrorCode::UnsupportedVersion, message));
            }
            let name = component.match_.as_ref().map(ToString::to_string);
            match (component.match_type, name) {
                (0, Some(name)) => {
                    filter.exact.insert(kind, Some(name));
                }
                (0, None) => {
                    return Err(invalid(
                        "Request specified MATCH_TYPE_EXACT, but set match string to null.",
                    ));
                }
                (1, None) => {
                    filter.exact.insert(kind, None);
                }
                (2, None) => filter.any.push(kind),
                (kind @ (1 | 2), Some(_)) => {
                    let kind = if kind == 1 { "DEFAULT" } else { "SPECIFIED" };
                    return Err(invalid(format!(
                        "Request specified MATCH_TYPE_{kind}, but also specified a match string."
                    )));
                }
                (other, _) => return Err(invalid(format!("Unknown match type {other}"))),
            }
        }
        let names = |kind: &str| {
            filter.exact.contains_key(kind) || filter.any.iter().any(|known| known == kind)
        };
        if names(IP) && (names(USER) || names(CLIENT_ID)) {
            return Err(invalid(
                "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.",
            ));
        }
        Ok(filter)
    }

    /// Whether the client asks for `entity`.
    pub(super) fn matches(&self, entity: &Entity) -> bool {
        let has_exact = self
            .exact
            .iter()
            .all(|(kind, name)| entity.0.get(kind) == Some(name));
        let has_any = self.any.iter().all(|kind| entity.0.contains_key(kind));
        let has_no_other = entity.0.len() == self.exact.len() + self.any.len();
        has_exact && has_any && (has_no_other || !self.is_strict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for parts in [
            vec![(USER, Some("alice"))],
            vec![(USER, None), (CLIENT_ID, Some("a,b=c%2C"))],
            vec![(CLIENT_ID, None)],
            vec![(IP, Some("10.0.0.1"))],
        ] {
            let entity = Entity::new(parts.into_iter()).unwrap();
            assert_eq!(Entity::of_name(&entity.name()), Some(entity));
        }
        assert_eq!(Entity::of_name("user=%zz"), None);
    }

    #[test]
    fn what_is_no_entity() {
        let refused = |parts: &[(&str, Option<&str>)]| Entity::new(parts.iter().copied()).is_err();
        assert!(refused(&[]));
        assert!(refused(&[("group", Some("g"))]));
        assert!(refused(&[(USER, Some(""))]));
        assert!(refused(&[(USER, None), (USER, Some("a"))]));
        assert!(refused(&[(IP, None), (USER, None)]));
        assert!(refused(&[(IP, Some("nobody"))]));
    }

    #[test]
    fn values_and_keys() {
        let user = Entity::new([(USER, None)].into_iter()).unwrap();
        let ip = Entity::new([(IP, None)].into_iter()).unwrap();
        assert!(check_key(&user, "producer_byte_rate").is_ok());
        assert!(check_key(&ip, "producer_byte_rate").is_err());
        assert!(check_key(&ip, "connection_creation_rate").is_ok());
        assert_eq!(check_value("producer_byte_rate", 1024.0).unwrap(), "1024");
        assert_eq!(check_value("request_percentage", 12.5).unwrap(), "12.5");
        for (key, value) in [
            ("producer_byte_rate", 0.5),
            ("producer_byte_rate", 0.0),
            ("request_percentage", -1.0),
            ("request_percentage", f64::NAN),
        ] {
            assert!(check_value(key, value).is_err(), "{key} {value}");
        }
    }
}
