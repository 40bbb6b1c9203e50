//! Scripts: what is asked, in YAML.
//!
//! A script is a list of steps:
//!
//! - `{step: NAME, ask: API VERSION, with: {...}}`: a request by the names of Kafka's schema. Fields left out have defaults.
//! - `keep: {NAME: /json/pointer}`: a value of the answer. `$NAME` stands for it in later requests, and for it in answers, so
//!   that what each broker draws by itself (topic ids, member ids) compares equal.
//! - `until: {/json/pointer: value}`: asked again until the answer is so; only the last one counts.
//! - `start: true`: sent without waiting; a later `{await: NAME}` takes the answer.
//! - `quiet: true`: the answer is not compared.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use yaml_rust2::{Yaml, YamlLoader};

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The file's name without its ending.
    pub(crate) name: String,
    /// In order.
    pub(crate) steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A request.
    Ask(Ask),
    /// The answer to a request that was sent without waiting, by its step's name.
    Await(String),
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Names the step, once in a script.
    pub(crate) name: String,
    /// Kafka's name of the API.
    pub(crate) api: String,
    /// Its version.
    pub(crate) version: i16,
    /// The request.
    pub(crate) with: Value,
    /// Names of values of the answer, by name; the value is a JSON pointer.
    pub(crate) keep: BTreeMap<String, String>,
    /// What the answer must have at a pointer before it counts.
    pub(crate) until: Map<String, Value>,
    /// Whether the answer is awaited later.
    pub(crate) is_started: bool,
    /// Whether the answer is not compared.
    pub(crate) is_quiet: bool,
}

/// All scripts of a folder, by name.
///
/// # Panics
///
/// If one cannot be read.
pub(crate) fn all(folder: &Path) -> Vec<Script> {
    let files = std::fs::read_dir(folder).expect("the folder can be read");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("a file of the folder").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Script {
    let text = std::fs::read_to_string(path).expect("the script can be read");
    let yaml = YamlLoader::load_from_str(&text);
    let yaml = yaml.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let steps = yaml.first().map(to_json).expect("a script has steps");
    let steps = steps
        .as_array()
        .expect("a script is a list of steps")
        .iter();
    Script {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        steps: steps.map(step).collect(),
    }
}

fn step(value: &Value) -> Step {
    if let Some(name) = value["await"].as_str() {
        return Step::Await(name.to_owned());
    }
    let ask = value["ask"]
        .as_str()
        .unwrap_or_else(|| panic!("no step: {value}"));
    let (api, version) = ask.split_once(' ').expect("`ask: API VERSION`");
    let known = ["step", "ask", "with", "keep", "until", "start", "quiet"];
    let object = value.as_object().expect("a step is a map");
    let stranger = object.keys().find(|key| !known.contains(&key.as_str()));
    assert!(stranger.is_none(), "a step has no `{stranger:?}`: {value}");
    let texts = |value: &Value| -> BTreeMap<String, String> {
        let fields = value.as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        fields
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    };
    Step::Ask(Ask {
        name: value["step"]
            .as_str()
            .expect("a step has a name")
            .to_owned(),
        api: api.to_owned(),
        version: version.parse().expect("a version is a number"),
        with: if value["with"].is_null() {
            json!({})
        } else {
            value["with"].clone()
        },
        keep: texts(&value["keep"]),
        until: value["until"].as_object().cloned().unwrap_or_default(),
        is_started: value["start"] == json!(true),
        is_quiet: value["quiet"] == json!(true),
    })
}

fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Integer(number) => json!(number),
        Yaml::Real(text) => json!(text.parse::<f64>().ok()),
        Yaml::String(text) => json!(text),
        Yaml::Boolean(truth) => json!(truth),
        Yaml::Array(elements) => elements.iter().map(to_json).collect(),
        Yaml::Hash(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| {
                (name.as_str().unwrap_or_default().to_owned(), to_json(value))
            });
            Value::Object(fields.collect())
        }
        Yaml::Null => Value::Null,
        other => panic!("a script has no {other:?}"),
    }
}
