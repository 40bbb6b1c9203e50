//! All sources of settings together.

use std::collections::BTreeMap;
use std::time::Duration;

use floe_metadata::api::FEATURE_LEVEL;
use floe_storage::store::StoreUrl;

use super::{
    Args, ByteSize, Config, ConfigError, DEFAULT_LISTENER, FlushConfig, ListenerConfig,
    MEMORY_LIMIT_BYTES_DEFAULT_MAX, MetadataUrl, Roles, Setting, file,
};
use crate::broker::Endpoint;
use crate::memory::LIMIT_BYTES_MIN;
use crate::topic_config::BrokerSettings;

/// Where everything is kept unless `--store` says otherwise.
const DEFAULT_FOLDER: &str = "./floe-data";
const FLUSH_BYTES_MIN: u64 = 64 * 1024;
const FLUSH_BYTES_MAX: u64 = 64 * 1024 * 1024;
const FLUSH_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// What the surroundings of the process say; arguments, so that tests choose them.
#[derive(Debug, Default)]
pub struct Environment {
    /// Environment variables that begin with `FLOE_`.
    pub variables: BTreeMap<String, String>,
    /// Name and text of the settings file, if there is one.
    pub file: Option<(String, String)>,
    /// Memory of the container or machine in bytes, if it can be told.
    pub memory_bytes: Option<u64>,
    /// Where all random numbers come from.
    pub seed: u64,
}

/// The values of one setting and where they come from.
struct Given {
    origin: String,
    values: Vec<String>,
}

impl Given {
    fn refuse(&self, value: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            origin: self.origin.clone(),
            value: value.to_owned(),
            reason: reason.into(),
        }
    }
}

struct Sources<'a> {
    args: &'a Args,
    variables: &'a BTreeMap<String, String>,
    file_name: &'a str,
    file: BTreeMap<Setting, Vec<String>>,
}

impl Sources<'_> {
    /// What the first source that has `setting` says.
    fn given(&self, setting: Setting) -> Option<Given> {
        let values = self.args.values(setting);
        if !values.is_empty() {
            return Some(Given {
                origin: format!("--{}", setting.key()),
                values,
            });
        }
        let variable = setting.variable();
        if let Some(text) = self
            .variables
            .get(&variable)
            .filter(|text| !text.is_empty())
        {
            let values = if setting.is_repeatable() {
                text.split(',').map(|part| part.trim().to_owned()).collect()
            } else {
                vec![text.clone()]
            };
            return Some(Given {
                origin: variable,
                values,
            });
        }
        let values = self.file.get(&setting)?.clone();
        Some(Given {
            origin: format!("{}: {}", self.file_name, setting.key()),
            values,
        })
    }

    /// The last value given for a setting that has one.
    fn one(&self, setting: Setting) -> Option<(Given, String)> {
        let given = self.given(setting)?;
        let value = given.values.last()?.clone();
        Some((given, value))
    }

    /// All given `NAME=VALUE` pairs of all sources, the stronger ones last.
    fn broker_settings(&self) -> Result<BrokerSettings, ConfigError> {
        let file = self.file.get(&Setting::Set).cloned().unwrap_or_default();
        let variable = self.variables.get(&Setting::Set.variable());
        let variable = variable.map(|text| pairs(text)).unwrap_or_default();
        let layers = [
            (format!("{}: set", self.file_name), file),
            (Setting::Set.variable(), variable),
            ("--set".to_owned(), self.args.values(Setting::Set)),
        ];
        let mut set = BTreeMap::new();
        for (origin, values) in layers {
            for pair in values {
                let Some((name, value)) = pair.split_once('=') else {
                    let reason = "is not of the form NAME=VALUE".to_owned();
                    return Err(ConfigError::Value {
                        origin,
                        value: pair,
                        reason,
                    });
                };
                let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
                // Checked one by one, so that the error names the source.
                BrokerSettings::new(BTreeMap::from([(name.clone(), value.clone())])).map_err(
                    |source| ConfigError::Broker {
                        origin: origin.clone(),
                        source,
                    },
                )?;
                set.insert(name, value);
            }
        }
        BrokerSettings::new(set).map_err(|source| ConfigError::Broker {
            origin: "--set".to_owned(),
            source,
        })
    }
}

/// `a=1,b=2` as pairs. A part without `=` belongs to the list before it: `log.cleanup.policy=compact,delete`.
fn pairs(text: &str) -> Vec<String> {
    let mut pairs: Vec<String> = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        match pairs.last_mut() {
            Some(last) if !part.contains('=') => {
                last.push(',');
                last.push_str(part);
            }
            _ => pairs.push(part.to_owned()),
        }
    }
    pairs
}

/// Makes the config and the log filter of a process.
///
/// # Errors
/// The first setting that is unknown or cannot be used, with where it came from.
pub fn resolve(args: &Args, environment: &Environment) -> Result<(Config, String), ConfigError> {
    let (file_name, file) = match &environment.file {
        Some((name, text)) => (name.as_str(), file::parse(name, text)?),
        None => ("", BTreeMap::new()),
    };
    let sources = Sources {
        args,
        variables: &environment.variables,
        file_name,
        file,
    };
    let log = sources
        .one(Setting::Log)
        .map_or_else(|| "info".to_owned(), |(_, value)| value);
    let config = Config {
        store: store(&sources)?,
        metadata: metadata(&sources)?,
        listeners: listeners(&sources)?,
        roles: roles(&sources)?,
        internal: match sources.one(Setting::Internal) {
            Some((given, value)) => Some(endpoint(&given, &value)?),
            None => None,
        },
        zone: sources.one(Setting::Zone).map(|(_, value)| value),
        memory_limit: memory_limit(&sources, environment.memory_bytes)?,
        http: match sources.one(Setting::Http) {
            Some((given, value)) => endpoint(&given, &value)?,
            None => Endpoint {
                host: "127.0.0.1".to_owned(),
                port: 9080,
            },
        },
        settings: sources.broker_settings()?,
        flush: flush(&sources)?,
        feature_level: FEATURE_LEVEL,
        seed: environment.seed,
    };
    Ok((config, log))
}

fn store(sources: &Sources<'_>) -> Result<StoreUrl, ConfigError> {
    let Some((given, value)) = sources.one(Setting::Store) else {
        return Ok(StoreUrl::Folder(DEFAULT_FOLDER.into()));
    };
    value.parse().map_err(|source| ConfigError::Store {
        origin: given.origin,
        source,
    })
}

fn metadata(sources: &Sources<'_>) -> Result<MetadataUrl, ConfigError> {
    let Some((given, value)) = sources.one(Setting::Metadata) else {
        return Ok(MetadataUrl::Store);
    };
    value.parse().map_err(|source| ConfigError::Metadata {
        origin: given.origin,
        source,
    })
}

fn roles(sources: &Sources<'_>) -> Result<Roles, ConfigError> {
    let Some((given, value)) = sources.one(Setting::Roles) else {
        return Ok(Roles::ALL);
    };
    let mut roles = Roles {
        agent: false,
        metadata: false,
        compaction: false,
    };
    for role in value.split(',').map(str::trim) {
        match role {
            "agent" => roles.agent = true,
            "metadata" => roles.metadata = true,
            "compaction" => roles.compaction = true,
            "all" => roles = Roles::ALL,
            _ => {
                let reason = format!("has '{role}', which is none of agent, metadata, compaction");
                return Err(given.refuse(&value, reason));
            }
        }
    }
    Ok(roles)
}

fn memory_limit(sources: &Sources<'_>, machine: Option<u64>) -> Result<ByteSize, ConfigError> {
    let Some((given, value)) = sources.one(Setting::MemoryLimit) else {
        let quarter = machine.map_or(MEMORY_LIMIT_BYTES_DEFAULT_MAX, |bytes| bytes / 4);
        return Ok(ByteSize(
            quarter.clamp(LIMIT_BYTES_MIN, MEMORY_LIMIT_BYTES_DEFAULT_MAX),
        ));
    };
    let limit: ByteSize = value
        .parse()
        .map_err(|reason| given.refuse(&value, reason))?;
    if limit.0 < LIMIT_BYTES_MIN {
        let reason = format!("is too small; at least {}", ByteSize(LIMIT_BYTES_MIN));
        return Err(given.refuse(&value, reason));
    }
    Ok(limit)
}

fn flush(sources: &Sources<'_>) -> Result<FlushConfig, ConfigError> {
    let mut flush = FlushConfig {
        bytes: ByteSize(8 * 1024 * 1024),
        interval: None,
    };
    if let Some((given, value)) = sources.one(Setting::FlushSize) {
        flush.bytes = value
            .parse()
            .map_err(|reason| given.refuse(&value, reason))?;
        if !(FLUSH_BYTES_MIN..=FLUSH_BYTES_MAX).contains(&flush.bytes.0) {
            return Err(given.refuse(&value, "is not between 64KiB and 64MiB"));
        }
    }
    if let Some((given, value)) = sources.one(Setting::FlushInterval) {
        let interval = duration(&value)
            .ok_or_else(|| given.refuse(&value, "is no time; write it like 250ms or 1s"))?;
        if interval > FLUSH_INTERVAL_MAX {
            return Err(given.refuse(&value, "is more than 10s"));
        }
        flush.interval = Some(interval);
    }
    Ok(flush)
}

/// `250ms` or `1s`.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Some(number) = text.strip_suffix("ms") {
        return number.trim_end().parse().ok().map(Duration::from_millis);
    }
    text.strip_suffix('s')?
        .trim_end()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

fn listeners(sources: &Sources<'_>) -> Result<Vec<ListenerConfig>, ConfigError> {
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    if let Some(given) = sources.given(Setting::Listen) {
        for text in &given.values {
            let (name, address) = named(text);
            if listeners.iter().any(|listener| listener.name == name) {
                let reason = format!("is a second listener called '{name}'; write NAME=HOST:PORT");
                return Err(given.refuse(text, reason));
            }
            let listen = endpoint(&given, address)?;
            listeners.push(ListenerConfig {
                name: name.to_owned(),
                listen,
                advertise: None,
            });
        }
    }
    if listeners.is_empty() {
        let listen = Endpoint {
            host: "127.0.0.1".to_owned(),
            port: 9092,
        };
        listeners.push(ListenerConfig {
            name: DEFAULT_LISTENER.to_owned(),
            listen,
            advertise: None,
        });
    }
    if let Some(given) = sources.given(Setting::Advertise) {
        for text in &given.values {
            let (name, address) = named(text);
            let Some(listener) = listeners.iter_mut().find(|listener| listener.name == name) else {
                return Err(given.refuse(text, format!("names no listener: there is no '{name}'")));
            };
            let advertise = endpoint(&given, address)?;
            if advertise.port == 0 || is_wildcard(&advertise.host) {
                return Err(given.refuse(text, "is nothing a client can connect to"));
            }
            listener.advertise = Some(advertise);
        }
    }
    Ok(listeners)
}

/// Whether the host stands for all interfaces.
pub(crate) fn is_wildcard(host: &str) -> bool {
    host.parse::<std::net::IpAddr>()
        .is_ok_and(|address| address.is_unspecified())
}

/// Splits `NAME=HOST:PORT`.
fn named(text: &str) -> (&str, &str) {
    text.split_once('=')
        .map_or((DEFAULT_LISTENER, text), |(name, rest)| (name.trim(), rest))
}

/// Reads `HOST:PORT`, where HOST may be a name, an IPv4 address, an IPv6 address in brackets, or empty
/// for all interfaces.
fn endpoint(given: &Given, text: &str) -> Result<Endpoint, ConfigError> {
    let text = text.trim();
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| given.refuse(text, "has no port; write HOST:PORT"))?;
    let port = port
        .parse::<u16>()
        .map_err(|_| given.refuse(text, "has no port between 0 and 65535"))?;
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = match inner {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        Some(_) => return Err(given.refuse(text, "has no IPv6 address in its brackets")),
        None if host.is_empty() || host == "*" => "0.0.0.0",
        None if host.contains(':') => {
            return Err(given.refuse(text, "needs brackets around its IPv6 address"));
        }
        None if host.contains(['/', ' ', '@']) => {
            return Err(given.refuse(text, "is not of the form HOST:PORT"));
        }
        None => host,
    };
    Ok(Endpoint {
        host: host.to_owned(),
        port,
    })
}
