//! The differences from Kafka that we know, each with its reason. The list can only shrink by itself: what no longer
//! differs must leave it.

/// One line of the list: `script | step | path | reason`; `*` stands for anything in the first three.
#[derive(Debug)]
pub(crate) struct Known {
    line: usize,
    patterns: [String; 3],
}

/// One difference between two transcripts.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Script, step, and path in the answer.
    pub(crate) place: [String; 3],
    /// What Kafka has there.
    pub(crate) kafka: Option<String>,
    /// What we have there.
    pub(crate) floe: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        let place = self.place.join(" | ");
        write!(
            f,
            "{place}\n    kafka {}\n    floe  {}",
            text(&self.kafka),
            text(&self.floe)
        )
    }
}

/// Reads the list. Empty lines and those after `#` mean nothing.
///
/// # Panics
///
/// If a line has no reason.
pub(crate) fn known(text: &str) -> Vec<Known> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let known = lines.map(|(index, line)| {
        let parts: Vec<_> = line.split('|').map(|part| part.trim().to_owned()).collect();
        match <[String; 4]>::try_from(parts) {
            Ok([script, step, path, reason]) if !reason.is_empty() => Known {
                line: index + 1,
                patterns: [script, step, path],
            },
            _ => panic!("line {} is not `script | step | path | reason`", index + 1),
        }
    });
    known.collect()
}

/// Differences that the list does not have, and lines of the list that nothing fits any more.
pub(crate) fn judge<'a>(
    known: &[Known],
    found: &'a [Difference],
) -> (Vec<&'a Difference>, Vec<usize>) {
    let covers = |known: &Known, difference: &Difference| {
        let mut pairs = known.patterns.iter().zip(&difference.place);
        pairs.all(|(pattern, text)| fits(pattern, text))
    };
    let is_known = |difference: &&Difference| known.iter().any(|it| covers(it, difference));
    let new = found
        .iter()
        .filter(|difference| !is_known(difference))
        .collect();
    let is_stale = |known: &&Known| !found.iter().any(|it| covers(known, it));
    let stale = known
        .iter()
        .filter(is_stale)
        .map(|known| known.line)
        .collect();
    (new, stale)
}

/// Whether a text fits a pattern in which `*` stands for any run of letters.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter()
                .any(|at| fits(rest, text.get(at..).unwrap_or_default()))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_not_new_and_what_is_gone_is_stale() {
        let known = known("# reasons\n\na | * | Topics.*.Id | drawn\na | b | Gone | was so\n");
        let difference = |path: &str| Difference {
            place: ["a".into(), "b".into(), path.into()],
            kafka: None,
            floe: None,
        };
        let found = [difference("Topics.0.Id"), difference("Topics.0.Name")];
        let (new, stale) = judge(&known, &found);
        assert_eq!(new.len(), 1);
        assert_eq!(
            new.first().map(|it| it.place[2].as_str()),
            Some("Topics.0.Name")
        );
        assert_eq!(stale, [4]);
    }

    #[test]
    fn stars_stand_for_anything() {
        assert!(fits("a*c*", "abc"));
        assert!(fits("*", ""));
        assert!(!fits("a*c", "ab"));
    }
}
