//! What a config is: its name, type, default, what values it takes and what it means. Values are checked
//! as Kafka 4.2 checks them, with its messages (compared with `LogConfig.validate` of 4.2.0).

/// Type of a config's value, as DescribeConfigs reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// Floating point.
    Double,
    /// Comma-separated.
    List,
}

impl Kind {
    /// The wire's number (DescribeConfigs, `ConfigType`).
    #[must_use]
    pub const fn wire(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
        }
    }
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Check {
    /// Nothing.
    Any,
    /// A number from here on.
    AtLeast(i64),
    /// A number between both, inclusive.
    Between(i64, i64),
    /// A number between both, inclusive, or -1.
    BetweenOrMinusOne(i64, i64),
    /// One of these words; of a list, each element.
    OneOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// `latest`, `earliest`, or `by_duration:` and a duration as ISO 8601 has it.
    OffsetReset,
}

/// One config of topics or of the broker.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Definition {
    /// Kafka's name.
    pub name: &'static str,
    /// Type of its value.
    pub kind: Kind,
    /// Kafka 4.2's default; `None` where it has none.
    pub default: Option<&'static str>,
    /// What a value must satisfy.
    pub check: Check,
    /// For a topic config, the broker configs its default comes from, first set one first, each with
    /// the factor that turns its value into the topic's unit.
    pub broker_names: &'static [(&'static str, i64)],
    /// What it means here.
    pub documentation: &'static str,
}

/// Why a value was refused, in Kafka's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValueError {
    /// Not of the config's type.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid {
        /// The config.
        name: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A list with an empty element.
    #[error("Configuration '{0}' values must not be empty.")]
    EmptyElement(String),
}

/// A row of a table of configs that have a default.
pub(super) const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    check: Check,
    broker_names: &'static [(&'static str, i64)],
    documentation: &'static str,
) -> Definition {
    Definition {
        name,
        kind,
        default: Some(default),
        check,
        broker_names,
        documentation,
    }
}

impl Definition {
    /// Checks `value`.
    ///
    /// # Errors
    /// Names the config, the value and what is wrong with it.
    pub fn check_value(&self, value: &str) -> Result<(), ValueError> {
        let trimmed = value.trim();
        match self.kind {
            Kind::Boolean => self.check_boolean(trimmed),
            Kind::String => self.check_word(trimmed, trimmed),
            Kind::List => self.check_list(trimmed),
            Kind::Double => self.check_double(trimmed),
            Kind::Int => self.check_integer(trimmed, i64::from(i32::MIN), i64::from(i32::MAX)),
            Kind::Short => self.check_integer(trimmed, i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Long => self.check_integer(trimmed, i64::MIN, i64::MAX),
        }
    }

    fn invalid(&self, value: &str, reason: impl Into<String>) -> ValueError {
        ValueError::Invalid {
            name: self.name.to_owned(),
            value: value.to_owned(),
            reason: reason.into(),
        }
    }

    fn check_boolean(&self, value: &str) -> Result<(), ValueError> {
        if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
            return Ok(());
        }
        Err(self.invalid(value, "Expected value to be either true or false"))
    }

    fn check_integer(&self, value: &str, lowest: i64, highest: i64) -> Result<(), ValueError> {
        let number = value
            .parse::<i64>()
            .ok()
            .filter(|n| (lowest..=highest).contains(n));
        let Some(number) = number else {
            return Err(self.invalid(value, format!("Not a number of type {}", self.kind.name())));
        };
        match self.check {
            Check::AtLeast(least) | Check::Between(least, _) if number < least => {
                Err(self.invalid(value, format!("Value must be at least {least}")))
            }
            Check::Between(_, most) if number > most => {
                Err(self.invalid(value, format!("Value must be no more than {most}")))
            }
            Check::BetweenOrMinusOne(least, most)
                if number != -1 && !(least..=most).contains(&number) =>
            {
                let reason = format!("Value must be between {least} and {most} or equal to -1");
                Err(self.invalid(value, reason))
            }
            Check::Any
            | Check::AtLeast(_)
            | Check::Between(..)
            | Check::BetweenOrMinusOne(..)
            | Check::OneOf(_)
            | Check::ThrottledReplicas
            | Check::OffsetReset => Ok(()),
        }
    }

    fn check_double(&self, value: &str) -> Result<(), ValueError> {
        let Ok(number) = value.parse::<f64>() else {
            return Err(self.invalid(value, "Not a number of type DOUBLE"));
        };
        let Check::Between(least, most) = self.check else {
            return Ok(());
        };
        // The bounds in the tables are 0 and 1, which are exact as floating point.
        #[expect(
            clippy::cast_precision_loss,
            reason = "small bounds written in the tables"
        )]
        let (least_f, most_f) = (least as f64, most as f64);
        if number.is_nan() || number < least_f {
            return Err(self.invalid(
                &format!("{number:?}"),
                format!("Value must be at least {least}"),
            ));
        }
        if number > most_f {
            let reason = format!("Value must be no more than {most}");
            return Err(self.invalid(&format!("{number:?}"), reason));
        }
        Ok(())
    }

    fn check_word(&self, word: &str, whole: &str) -> Result<(), ValueError> {
        match self.check {
            Check::OneOf(words) if !words.contains(&word) => {
                let reason = format!("String must be one of: {}", words.join(", "));
                Err(self.invalid(whole, reason))
            }
            Check::OffsetReset if !is_offset_reset(word) => {
                let reason = "String must be one of: latest, earliest, by_duration:PnDTnHnMn.nS";
                Err(self.invalid(whole, reason))
            }
            _ => Ok(()),
        }
    }

    fn check_list(&self, value: &str) -> Result<(), ValueError> {
        let elements = elements(value);
        if elements.iter().any(|element| element.is_empty()) {
            return Err(ValueError::EmptyElement(self.name.to_owned()));
        }
        if self.check == Check::ThrottledReplicas {
            return self.check_throttled(&elements);
        }
        elements
            .iter()
            .try_for_each(|element| self.check_word(element, element))
    }

    fn check_throttled(&self, elements: &[&str]) -> Result<(), ValueError> {
        let is_pair = |element: &&str| {
            let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            element
                .split_once(':')
                .is_some_and(|(left, right)| number(left) && number(right))
        };
        if elements == ["*"] || elements.iter().all(is_pair) {
            return Ok(());
        }
        let reason = format!(
            "{} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            self.name
        );
        Err(self.invalid(&format!("[{}]", elements.join(", ")), reason))
    }
}

/// Whether `word` says where a group begins to read. Of a duration: digits, each number with its unit.
fn is_offset_reset(word: &str) -> bool {
    if matches!(word, "latest" | "earliest") {
        return true;
    }
    let Some(duration) = word.strip_prefix("by_duration:P") else {
        return false;
    };
    let is_part = |part: &str, units: &[char]| {
        part.is_empty() || part.ends_with(units) && part.starts_with(|c: char| c.is_ascii_digit())
    };
    let (days, time) = duration.split_once('T').unwrap_or((duration, ""));
    let known = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'D' | 'H' | 'M' | 'S');
    !duration.is_empty()
        && !duration.ends_with('T')
        && is_part(days, &['D'])
        && is_part(time, &['H', 'M', 'S'])
        && duration.chars().all(|c| c == 'T' || known(c))
}

/// The elements of a list value; none of an empty one.
#[must_use]
pub fn elements(value: &str) -> Vec<&str> {
    let value = value.trim();
    if value.is_empty() {
        Vec::new()
    } else {
        value.split(',').map(str::trim).collect()
    }
}
