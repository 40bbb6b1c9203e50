//! Configs that administrators change while the cluster runs: those of topics, which are part of the topic, and
//! those of brokers, groups, clients' metrics and quotas, which are kept here by kind and name.
//!
//! Whether a value fits was decided before, of the whole set as the caller saw it. So a change says what it was
//! made of, and is refused when that is no longer what is there: two callers that add to a list at the same time
//! both succeed in the end, one after the other.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::State;
use super::rows::RowKey;
use super::rows::configs::{ConfigFigures, ConfigRow};
use super::write_set::WriteSet;
use crate::api::admin::{AlterConfigs, ConfigKind, ConfigResource, ConfigValues, NamedConfigs};
use crate::api::{RequestError, Revision, Topic, WatchEvent};
use crate::groups::consumer::GroupSettings;

/// Resources other than topics that may have configs of their own: all of them are in every agent's memory.
pub(super) const RESOURCES_MAX: u64 = 100_000;

/// Numbers and values by name.
type OfKind = BTreeMap<Arc<str>, (u64, Arc<ConfigValues>)>;

/// Configs by kind and name. A resource has a number of its own, never used again, since its name may be longer
/// than a key can be.
#[derive(Debug, Default)]
pub(super) struct Configs {
    by_name: BTreeMap<ConfigKind, OfKind>,
    figures: ConfigFigures,
    /// The figures as they were sealed last.
    sealed: ConfigFigures,
}

impl Configs {
    pub(super) fn hash(&self, hasher: &mut impl Hasher) {
        self.figures.hash(hasher);
        for NamedConfigs { kind, name, values } in self.all() {
            (kind, name, values).hash(hasher);
        }
    }

    /// Takes the figures from their row.
    pub(super) fn load_figures(&mut self, figures: ConfigFigures) {
        (self.figures.next_number, self.sealed) = (figures.next_number, figures);
    }

    /// Takes configs from their row; `false` if there are some of this number or name.
    pub(super) fn load(&mut self, number: u64, row: ConfigRow) -> bool {
        let NamedConfigs { kind, name, values } = row.0;
        self.figures.resources += 1;
        let of_kind = self.by_name.entry(kind).or_default();
        let known = of_kind.insert(name, (number, values));
        known.is_none() && number < self.figures.next_number
    }

    /// Whether all rows were there.
    pub(super) fn is_complete(&self) -> bool {
        self.figures == self.sealed
    }

    pub(super) fn seal(&mut self, writes: &mut WriteSet) {
        if self.figures != self.sealed {
            writes.put(RowKey::config_figures(), self.figures.encode());
            self.sealed = self.figures;
        }
    }

    /// All of them, by kind and name.
    pub(super) fn all(&self) -> impl Iterator<Item = NamedConfigs> {
        self.by_name.iter().flat_map(|(kind, of_kind)| {
            of_kind.iter().map(|(name, (_, values))| NamedConfigs {
                kind: *kind,
                name: Arc::clone(name),
                values: Arc::clone(values),
            })
        })
    }

    /// What is set for a resource; `None` if nothing is.
    fn get(&self, kind: ConfigKind, name: &str) -> Option<&Arc<ConfigValues>> {
        let found = self.by_name.get(&kind)?.get(name);
        found.map(|(_, values)| values)
    }

    fn set(&mut self, configs: NamedConfigs, writes: &mut WriteSet) {
        let of_kind = self.by_name.entry(configs.kind).or_default();
        if configs.values.is_empty() {
            if let Some((number, _)) = of_kind.remove(&configs.name) {
                self.figures.resources -= 1;
                writes.delete(RowKey::configs(number));
            }
            return;
        }
        let figures = &mut self.figures;
        let entry = of_kind.entry(Arc::clone(&configs.name));
        let (number, values) = entry.or_insert_with(|| {
            figures.resources += 1;
            figures.next_number += 1;
            (figures.next_number - 1, Arc::default())
        });
        values.clone_from(&configs.values);
        writes.put(RowKey::configs(*number), ConfigRow(configs).encode());
    }
}

impl State {
    /// What is set for a group of the consumer protocol. Asked for with every heartbeat.
    pub(crate) fn group_settings(&self, group: &str) -> GroupSettings {
        let Some(set) = self.configs.get(ConfigKind::Group, group) else {
            return GroupSettings::default();
        };
        // Checked when they were set.
        let time = |name| Some(Duration::from_millis(set.get(name)?.parse().ok()?));
        GroupSettings {
            session_timeout: time("consumer.session.timeout.ms"),
            heartbeat_interval: time("consumer.heartbeat.interval.ms"),
        }
    }

    pub(super) fn alter_configs(
        &mut self,
        change: AlterConfigs,
        writes: &mut WriteSet,
    ) -> Result<Revision, RequestError> {
        let AlterConfigs {
            resource,
            before,
            after,
        } = change;
        match resource {
            ConfigResource::Topic(id) => {
                let slot = self.topics.by_id(id).ok_or(RequestError::UnknownTopic)?;
                if *slot.topic.configs != after {
                    if *slot.topic.configs != before {
                        return Err(RequestError::ConfigsChanged);
                    }
                    let topic = Arc::new(Topic {
                        configs: Arc::new(after),
                        ..Topic::clone(&slot.topic)
                    });
                    self.topics.update(Arc::clone(&topic));
                    self.topic_changed(topic, writes);
                }
            }
            ConfigResource::Named(kind, name) => {
                let nothing = ConfigValues::default();
                let present = self.configs.get(kind, &name);
                let present = present.map_or(&nothing, |set| &**set);
                if *present != after {
                    if *present != before {
                        return Err(RequestError::ConfigsChanged);
                    }
                    let is_new = present.is_empty();
                    if is_new && self.configs.figures.resources >= RESOURCES_MAX {
                        return Err(RequestError::TooManyResources(RESOURCES_MAX));
                    }
                    let values = Arc::new(after);
                    let configs = NamedConfigs { kind, name, values };
                    self.configs.set(configs.clone(), writes);
                    writes.events.push(WatchEvent::ConfigsChanged(configs));
                }
            }
        }
        Ok(self.counters.revision)
    }
}
