//! A script against one broker, and what came of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use floe_tests::wait;
use serde_json::{Value, json};

use crate::codec;
use crate::model::Api;
use crate::script::{Ask, Script, Step};

/// No answer takes longer; Kafka lets a Join wait for its rebalance timeout.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// What a step waits for holds within this time.
const UNTIL_LIMIT: Duration = Duration::from_secs(20);
/// Between two requests of a step that waits.
const AGAIN: Duration = Duration::from_millis(100);

const NO_ID: &str = "00000000-0000-0000-0000-000000000000";
const AN_HOUR_MS: i64 = 3_600_000;
/// No leader yet, not the leader yet, coordinator loading, not available, not the coordinator yet.
const COME_BACK: [i64; 5] = [5, 6, 14, 15, 16];
/// Fields with ids of brokers.
const NODE_FIELDS: [&str; 8] = [
    "NodeId",
    "BrokerId",
    "LeaderId",
    "ControllerId",
    "IsrNodes",
    "ReplicaNodes",
    "ReplicaId",
    "ResourceName",
];
/// Fields that tell the elements of an array from each other.
const IDENTITIES: [&str; 13] = [
    "Name",
    "Topic",
    "TopicId",
    "TopicName",
    "PartitionIndex",
    "Partition",
    "Index",
    "GroupId",
    "MemberId",
    "ResourceName",
    "ApiKey",
    "Key",
    "EntityType",
];

/// The answers to a script: per step, what stands at each path of the answer.
pub(crate) type Transcript = BTreeMap<String, BTreeMap<String, String>>;

/// Runs a script.
///
/// # Panics
///
/// If a request cannot be written.
pub(crate) fn run(
    apis: &BTreeMap<String, Api>,
    address: SocketAddr,
    script: &Script,
) -> Transcript {
    let mut session = Session {
        apis,
        address,
        node: Value::Null,
        kept: vec![("port".to_owned(), json!(address.port()))],
        started: BTreeMap::new(),
        transcript: Transcript::new(),
    };
    session.learn();
    for step in &script.steps {
        match step {
            Step::Await(name) => {
                let (ask, answer) = session
                    .started
                    .remove(name)
                    .expect("a step that was started");
                let answer = answer.join().expect("a request does not panic");
                session.take(&ask, answer);
            }
            Step::Ask(ask) => session.ask(ask),
        }
    }
    session.transcript
}

/// An answer that somebody waits for.
type Started = JoinHandle<Option<Vec<u8>>>;

struct Session<'a> {
    apis: &'a BTreeMap<String, Api>,
    address: SocketAddr,
    /// The broker's id.
    node: Value,
    /// Values that were kept, by name.
    kept: Vec<(String, Value)>,
    started: BTreeMap<String, (Ask, Started)>,
    transcript: Transcript,
}

impl Session<'_> {
    /// What each broker is called.
    fn learn(&mut self) {
        let Some(metadata) = self.apis.get("Metadata") else {
            return;
        };
        let request = codec::encode(metadata, 12, &json!({"Topics": []})).unwrap_or_default();
        let answer = exchange(self.address, metadata.key, 12, true, &request);
        let answer = decoded(metadata, 12, answer.as_deref());
        self.node = answer["Brokers"][0]["NodeId"].clone();
        self.kept
            .push(("cluster".to_owned(), answer["ClusterId"].clone()));
    }

    fn ask(&mut self, ask: &Ask) {
        let api = self.apis.get(&ask.api);
        let api = api.unwrap_or_else(|| panic!("{}: there is no API {}", ask.name, ask.api));
        let request = codec::encode(api, ask.version, &self.filled(&ask.with));
        let request = request.unwrap_or_else(|why| panic!("{}: {why}", ask.name));
        let (address, key, version) = (self.address, api.key, ask.version);
        let flexible = is_flexible(api, version);
        let once = move || exchange(address, key, version, flexible, &request);
        if ask.is_started {
            let answer = std::thread::spawn(once);
            self.started.insert(ask.name.clone(), (ask.clone(), answer));
            return;
        }
        let mut last = None;
        let answered = wait::within(UNTIL_LIMIT, || {
            last = once();
            let decoded = decoded(api, version, last.as_deref());
            let holds =
                |(pointer, value): (&String, &Value)| decoded.pointer(pointer) == Some(value);
            let is_so = ask.until.iter().all(holds) && !asks_again(&decoded);
            if !is_so {
                wait::pause(AGAIN);
            }
            is_so.then_some(())
        });
        if answered.is_none() {
            let waited = BTreeMap::from([("waited".to_owned(), "in vain".to_owned())]);
            self.transcript
                .insert(format!("{} in time", ask.name), waited);
        }
        self.take(ask, last);
    }

    fn take(&mut self, ask: &Ask, answer: Option<Vec<u8>>) {
        let Some(api) = self.apis.get(&ask.api) else {
            return;
        };
        let answer = decoded(api, ask.version, answer.as_deref());
        for (name, pointer) in &ask.keep {
            let value = answer.pointer(pointer).cloned().unwrap_or_default();
            self.kept.push((name.clone(), value));
        }
        let mut answer = self.named("", &answer);
        sort(&mut answer);
        if !ask.is_quiet {
            let mut paths = BTreeMap::new();
            flatten("", &answer, &mut paths);
            let before = self.transcript.insert(ask.name.clone(), paths);
            assert!(before.is_none(), "two steps are called {}", ask.name);
        }
    }

    /// The request with what was kept in the places of its names.
    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(text) if text.starts_with('$') => {
                let name = text.trim_start_matches('$');
                match name {
                    "node" => return self.node.clone(),
                    "nodename" => return json!(self.node.to_string()),
                    _ => {}
                }
                let kept = self.kept.iter().rev().find(|(known, _)| known == name);
                kept.unwrap_or_else(|| panic!("nothing was kept as {name}"))
                    .1
                    .clone()
            }
            Value::Array(elements) => elements.iter().map(|it| self.filled(it)).collect(),
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.filled(value)));
                Value::Object(fields.collect())
            }
            other => other.clone(),
        }
    }

    /// An answer with names in the places of what each broker draws by itself.
    fn named(&self, field: &str, value: &Value) -> Value {
        match value {
            Value::Array(elements) => elements.iter().map(|it| self.named(field, it)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter();
                let fields = fields.map(|(name, value)| (name.clone(), self.named(name, value)));
                Value::Object(fields.collect())
            }
            Value::String(text) => {
                let mut text = text.clone();
                for (name, kept) in &self.kept {
                    if let Some(kept) = kept.as_str().filter(|kept| kept.len() > 3) {
                        text = text.replace(kept, &format!("${name}"));
                    }
                }
                let is_drawn = field == "TopicId" && !text.starts_with('$') && text != NO_ID;
                if is_drawn {
                    json!("drawn")
                } else {
                    json!(text)
                }
            }
            Value::Number(number) => {
                let number = number.as_i64().unwrap_or_default();
                let is_kept = |(_, kept): &&(String, Value)| number > 999 && *kept == json!(number);
                if *value == self.node && NODE_FIELDS.contains(&field) {
                    json!("$node")
                } else if (number - wait::wall_ms()).abs() < AN_HOUR_MS {
                    json!("$now")
                } else if let Some((name, _)) = self.kept.iter().find(is_kept) {
                    json!(format!("${name}"))
                } else {
                    value.clone()
                }
            }
            simple => simple.clone(),
        }
    }
}

/// Whether an answer tells clients to come back: a broker that still makes what was asked for says so.
fn asks_again(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(asks_again),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let code = value.as_i64().filter(|_| name == "ErrorCode");
            asks_again(value) || code.is_some_and(|code| COME_BACK.contains(&code))
        }),
        _ => false,
    }
}

/// Sorts the elements of arrays by what names them: a broker answers in the order of its hash maps.
fn sort(value: &mut Value) {
    match value {
        Value::Array(elements) => {
            elements.iter_mut().for_each(sort);
            let key = |element: &Value| {
                let names = IDENTITIES.iter().filter_map(|name| element.get(name));
                let names = names.map(|name| {
                    name.as_i64()
                        .map_or_else(|| name.to_string(), |it| format!("{it:020}"))
                });
                names.collect::<Vec<_>>()
            };
            elements.sort_by_key(key);
        }
        Value::Object(fields) => fields.values_mut().for_each(sort),
        _ => {}
    }
}

/// What stands at each path.
fn flatten(path: &str, value: &Value, paths: &mut BTreeMap<String, String>) {
    let below = |name: &str| {
        if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        }
    };
    match value {
        Value::Array(elements) => {
            paths.insert(below("length"), elements.len().to_string());
            for (index, element) in elements.iter().enumerate() {
                flatten(&below(&index.to_string()), element, paths);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&below(name), value, paths);
            }
        }
        simple => {
            paths.insert(path.to_owned(), simple.to_string());
        }
    }
}

fn is_flexible(api: &Api, version: i16) -> bool {
    api.flexible.is_some_and(|it| it.contains(version))
}

/// The message of an answer; of a connection that was closed instead, that.
fn decoded(api: &Api, version: i16, answer: Option<&[u8]>) -> Value {
    let Some(bytes) = answer else {
        return json!({"connection": "closed"});
    };
    // Of the response header: the correlation id and, in flexible versions, no tags. ApiVersions has the old one always.
    let header = if is_flexible(api, version) && api.key != 18 {
        5
    } else {
        4
    };
    let body = codec::decode(api, version, bytes.get(header..).unwrap_or_default());
    body.unwrap_or_else(|why| json!({"malformed": why}))
}

/// One request over a connection of its own; `None` if it was closed without an answer.
fn exchange(
    address: SocketAddr,
    key: i16,
    version: i16,
    flexible: bool,
    body: &[u8],
) -> Option<Vec<u8>> {
    let client = b"comparison";
    let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend(7_i32.to_be_bytes());
    frame.extend(u16::try_from(client.len()).ok()?.to_be_bytes());
    frame.extend(client);
    if flexible {
        codec::put_uvarint(&mut frame, 0);
    }
    frame.extend(body);
    let length = u32::try_from(frame.len()).ok()?.to_be_bytes();
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    socket
        .write_all(&[&length, frame.as_slice()].concat())
        .ok()?;
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    socket.read_exact(&mut answer).ok()?;
    Some(answer)
}
