//! Our schema text against the facts as Kafka ships them, where its client jar is at hand: `FLOE_TEST_KAFKA_JAR` names
//! the jar, or `FLOE_TEST_KAFKA_MESSAGES` a folder with its `common/message/*.json`. Without them the tests say that
//! they compared nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use floe_protocol::arbitrary::{APIS, Random};
use floe_protocol::error_code::ErrorCode;
use serde_json::Value;

use crate::model::{Api, Body, Field, Kind};
use crate::versions::Versions;
use crate::{encode, parse};

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where to look"
)]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Says it past the capture of test output.
fn say(text: &str) {
    _ = writeln!(std::io::stderr(), "{text}");
}

/// The folder with Kafka's JSON files, unpacked if need be.
fn messages_folder() -> Option<PathBuf> {
    if let Some(folder) = variable("FLOE_TEST_KAFKA_MESSAGES") {
        return Some(folder);
    }
    let jar = variable("FLOE_TEST_KAFKA_JAR")?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kafka-messages");
    std::fs::create_dir_all(&target).unwrap();
    let mut unzip = Command::new("unzip");
    unzip
        .args(["-qo"])
        .arg(&jar)
        .arg("common/message/*.json")
        .current_dir(&target);
    let mut java_jar = Command::new("jar");
    java_jar
        .arg("xf")
        .arg(&jar)
        .arg("common/message")
        .current_dir(&target);
    let unpacked = [unzip, java_jar]
        .iter_mut()
        .any(|program| program.status().is_ok_and(|status| status.success()));
    assert!(
        unpacked,
        "neither unzip nor jar could unpack {}",
        jar.display()
    );
    Some(target.join("common/message"))
}

/// A JSON file without its comment lines.
fn read_json(folder: &Path, name: &str) -> Value {
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    serde_json::from_str(&lines.collect::<Vec<_>>().join("\n"))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn schema() -> Vec<Api> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let mut apis = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            apis.push(parse::parse(&std::fs::read_to_string(path).unwrap()).unwrap());
        }
    }
    apis
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_default()
}

fn versions(json: &Value, name: &str) -> Option<Versions> {
    match text(json, name) {
        "" | "none" => None,
        range => Some(Versions::parse(range).unwrap()),
    }
}

/// The type of a field as Kafka writes it.
fn kafka_type(kind: &Kind) -> String {
    match kind {
        Kind::Fixed("Uuid", _) => "uuid".to_owned(),
        Kind::Fixed(name, _) => name
            .replace('i', "int")
            .replace('u', "uint")
            .replace('f', "float"),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
        Kind::Records => "records".to_owned(),
        // Where request and response have two structs of one name, ours calls the second `Response…`.
        Kind::Struct(name) => name.strip_prefix("Response").unwrap_or(name).to_owned(),
        Kind::Array(element) => format!("[]{}", kafka_type(element)),
    }
}

/// A default as our text writes it; `None` for the one the type has anyway.
fn default(json: &Value) -> Option<String> {
    let value = match &json["default"] {
        Value::Null => return None,
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    };
    let number = value
        .strip_prefix("0x")
        .map(|digits| i64::from_str_radix(digits, 16).unwrap());
    let value = number.map_or(value, |number| number.to_string());
    (!["0", "false", ""].contains(&value.as_str())).then_some(value)
}

struct Comparison<'a> {
    folder: &'a Path,
    fields: usize,
}

impl Comparison<'_> {
    fn api(&mut self, api: &Api) {
        for (body, kind) in [(&api.request, "Request"), (&api.response, "Response")] {
            let name = format!("{}{kind}", api.name);
            let json = read_json(self.folder, &name);
            assert_eq!(json["apiKey"].as_i64(), Some(api.key.into()), "{name}");
            assert_eq!(versions(&json, "flexibleVersions"), api.flexible, "{name}");
            self.valid_versions(api, &name, versions(&json, "validVersions").unwrap());
            self.body(api, body, &name, &json);
        }
    }

    fn valid_versions(&self, api: &Api, name: &str, theirs: Versions) {
        let ours = api.valid;
        // InitProducerId 6 is unstable in 4.2.
        let unstable = api.name == "InitProducerId" && theirs.last == 6 && ours.last == 5;
        let last = if unstable { ours.last } else { theirs.last };
        assert_eq!(
            (ours.first, ours.last),
            (theirs.first, last),
            "versions of {name}"
        );
    }

    fn body(&mut self, api: &Api, body: &Body, name: &str, json: &Value) {
        let none = Vec::new();
        let shared = json["commonStructs"].as_array().unwrap_or(&none);
        let names: Vec<_> = shared.iter().map(|json| text(json, "name")).collect();
        let ours: Vec<_> = body
            .structs
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        assert_eq!(ours, names, "shared structs of {name}");
        for (known, json) in body.structs.iter().zip(shared) {
            self.fields(api, &known.fields, json, &format!("{name}.{}", known.name));
        }
        self.fields(api, &body.fields, json, name);
    }

    fn fields(&mut self, api: &Api, fields: &[Field], json: &Value, place: &str) {
        let all = json["fields"].as_array().unwrap();
        let within = |json: &&Value| versions(json, "versions").unwrap().and(api.valid).is_some();
        let theirs: Vec<_> = all.iter().filter(within).collect();
        let names: Vec<_> = theirs.iter().map(|json| text(json, "name")).collect();
        let ours: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(ours, names, "fields of {place}");
        for (field, json) in fields.iter().zip(theirs) {
            self.field(api, field, json, &format!("{place}.{}", field.name));
        }
    }

    fn field(&mut self, api: &Api, field: &Field, json: &Value, place: &str) {
        assert_eq!(
            kafka_type(&field.kind),
            text(json, "type"),
            "type of {place}"
        );
        assert_eq!(
            Some(field.versions),
            versions(json, "versions"),
            "versions of {place}"
        );
        assert_eq!(
            field.nullable,
            versions(json, "nullableVersions"),
            "null in {place}"
        );
        assert_eq!(
            field.tag.map(Into::into),
            json["tag"].as_u64(),
            "tag of {place}"
        );
        let tagged = field.tag.map(|_| field.versions);
        assert_eq!(
            tagged,
            versions(json, "taggedVersions"),
            "tagged versions of {place}"
        );
        assert_eq!(field.default, default(json), "default of {place}");
        assert_eq!(
            field.fields.is_empty(),
            json["fields"].is_null(),
            "struct of {place}"
        );
        if !field.fields.is_empty() {
            self.fields(api, &field.fields, json, place);
        }
        self.fields += 1;
    }
}

#[test]
fn the_schema_agrees_with_kafkas_own() {
    let Some(folder) = messages_folder() else {
        say(
            "skipped: no FLOE_TEST_KAFKA_JAR or FLOE_TEST_KAFKA_MESSAGES to compare the schema with",
        );
        return;
    };
    let mut comparison = Comparison {
        folder: &folder,
        fields: 0,
    };
    for api in schema() {
        comparison.api(&api);
    }
    assert!(
        comparison.fields > 1000,
        "{} fields compared",
        comparison.fields
    );
    say(&format!(
        "compared {} fields with {}",
        comparison.fields,
        folder.display()
    ));
}

/// Kafka's broker has a few more APIs than we mean to: exactly those the reference names.
#[test]
fn no_api_of_a_broker_is_forgotten() {
    let Some(folder) = messages_folder() else {
        say("skipped: no FLOE_TEST_KAFKA_JAR or FLOE_TEST_KAFKA_MESSAGES to compare the keys with");
        return;
    };
    let ours: Vec<_> = schema().iter().map(|api| i64::from(api.key)).collect();
    let mut absent = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix("Request.json") else {
            continue;
        };
        let json = read_json(&folder, &format!("{name}Request"));
        let listeners = json["listeners"].as_array();
        let of_broker = listeners.is_some_and(|all| all.iter().any(|one| one == "broker"));
        let key = json["apiKey"].as_i64().unwrap();
        let exists = versions(&json, "validVersions").is_some();
        if of_broker && exists && !ours.contains(&key) {
            absent.insert(key, name.to_owned());
        }
    }
    let telemetry = [71, 72];
    let raft_voters = [80, 81];
    let share_state = [83, 84, 85, 86, 87];
    let expected: Vec<_> = telemetry
        .into_iter()
        .chain(raft_voters)
        .chain(share_state)
        .collect();
    assert_eq!(
        absent.keys().copied().collect::<Vec<_>>(),
        expected,
        "{absent:?}"
    );
}

/// The answers of Kafka's own classes to the lines of `input`, from one Java process; `None` where that cannot be.
fn ask_kafka(input: String) -> Option<String> {
    let Some(jar) = variable("FLOE_TEST_KAFKA_JAR") else {
        say("skipped: no FLOE_TEST_KAFKA_JAR whose classes could be asked");
        return None;
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/KafkaMessages.java");
    let mut java = Command::new("java");
    // The jars it depends on lie beside it in a distribution.
    let beside = jar.parent().unwrap_or(Path::new(".")).join("*");
    java.args(["-cp", &format!("{}:{}", jar.display(), beside.display())])
        .arg(source)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut java = match java.spawn() {
        Ok(java) => java,
        Err(error) => {
            say(&format!("skipped: java does not start: {error}"));
            return None;
        }
    };
    let mut stdin = java.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = java.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "java failed after {} bytes",
        output.stdout.len()
    );
    writer.join().unwrap().unwrap();
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn kafkas_own_classes_read_and_write_the_same_bytes() {
    let (mut random, mut input, mut names) = (Random::new(21), String::new(), Vec::new());
    for api in APIS {
        for version in api.key.decodable_versions() {
            for (kind, codec) in api.both() {
                for _ in 0..8 {
                    let message = (codec.arbitrary)(&mut random, version);
                    let bytes = encode(message.as_ref(), version);
                    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    _ = writeln!(input, "{} {version} {kind} {hex}", api.key.to_wire());
                    names.push((format!("{} {kind} {version}", api.key), hex));
                }
            }
        }
    }
    let Some(output) = ask_kafka(input) else {
        return;
    };
    assert_eq!(output.lines().count(), names.len());
    for (answer, (name, hex)) in output.lines().zip(names) {
        assert_eq!(answer, format!("0 {hex}"), "{name}");
    }
}

#[test]
fn error_codes_agree_with_kafkas_own() {
    let row = |code: &ErrorCode| format!("{} {} {}", code.code(), code.name(), code.is_retriable());
    let ours: Vec<_> = ErrorCode::ALL.iter().map(row).collect();
    let Some(output) = ask_kafka("errors\n".to_owned()) else {
        return;
    };
    if output.starts_with("unavailable") {
        return say(&format!("skipped: {}", output.trim()));
    }
    assert_eq!(output.trim().split(", ").collect::<Vec<_>>(), ours);
}
