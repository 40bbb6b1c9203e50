//! The table of goals: each row computed from the samples, with what was reached.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Figure;

/// One goal.
struct Goal {
    what: &'static str,
    /// The figure that is judged.
    figure: &'static str,
    /// Another figure to divide it by, of the same run.
    over: Option<&'static str>,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const fn at_most(
    what: &'static str,
    figure: &'static str,
    over: Option<&'static str>,
    bound: f64,
) -> Goal {
    let bound = Bound::AtMost(bound);
    Goal {
        what,
        figure,
        over,
        bound,
    }
}

const fn at_least(
    what: &'static str,
    figure: &'static str,
    over: Option<&'static str>,
    bound: f64,
) -> Goal {
    Goal {
        bound: Bound::AtLeast(bound),
        ..at_most(what, figure, over, bound)
    }
}

const KAFKA_IN: Option<&str> = Some("produce, kafka folder: server CPU-s/GiB");
const KAFKA_OUT: Option<&str> = Some("fetch, kafka folder: server CPU-s/GiB");
const KAFKA_BOTH: Option<&str> = Some("tail, kafka folder: server CPU-s/GiB");

const GOALS: [Goal; 33] = [
    at_most(
        "start to ready, folder, clean (ms)",
        "start clean, floe folder: ms",
        None,
        500.0,
    ),
    at_most(
        "… after kill -9 with 1 GiB in it (ms)",
        "start after kill -9 with 1 GiB, floe folder: ms",
        None,
        500.0,
    ),
    at_most(
        "CPU per GiB produced, folder (× Kafka)",
        "produce, floe folder: server CPU-s/GiB",
        KAFKA_IN,
        0.5,
    ),
    at_most(
        "… fetched (× Kafka)",
        "fetch, floe folder: server CPU-s/GiB",
        KAFKA_OUT,
        1.0,
    ),
    at_most(
        "… produced and tailed (× Kafka)",
        "tail, floe folder: server CPU-s/GiB",
        KAFKA_BOTH,
        0.5,
    ),
    at_most(
        "CPU per GiB produced, MinIO, agent alone (× Kafka)",
        "produce, floe minio: server CPU-s/GiB",
        KAFKA_IN,
        0.7,
    ),
    at_most(
        "… fetched (× Kafka)",
        "fetch, floe minio: server CPU-s/GiB",
        KAFKA_OUT,
        0.7,
    ),
    at_most(
        "… produced and tailed (× Kafka)",
        "tail, floe minio: server CPU-s/GiB",
        KAFKA_BOTH,
        0.7,
    ),
    at_least(
        "4 producers flat out to MinIO (× 2 / sum of CPU-s per GiB)",
        "4 producers flat out, floe minio: share of 2 / sum",
        None,
        0.85,
    ),
    at_least(
        "Java producer, folder, 16 partitions (× Kafka)",
        "java producer, 16 partitions, floe folder: MiB/s",
        Some("java producer, 16 partitions, kafka folder: MiB/s"),
        1.0,
    ),
    at_least(
        "… 1 partition (MiB/s)",
        "java producer, 1 partitions, floe folder: MiB/s",
        None,
        9.0,
    ),
    at_least(
        "… MinIO + 60 ms, 64 partitions (MiB/s)",
        "java producer, 64 partitions, floe minio+60ms: MiB/s",
        None,
        15.0,
    ),
    at_most(
        "ack at 500 records/s, folder, p50 (ms)",
        "500 records/s, floe folder: ack p50 ms",
        None,
        10.0,
    ),
    at_most(
        "… p99 (ms)",
        "500 records/s, floe folder: ack p99 ms",
        None,
        30.0,
    ),
    at_most(
        "… end to end p50 (ms)",
        "500 records/s, floe folder: end to end p50 ms",
        None,
        12.0,
    ),
    at_most(
        "ack at 500 records/s, MinIO + 60 ms, p50 (ms)",
        "500 records/s, floe minio+60ms: ack p50 ms",
        None,
        220.0,
    ),
    at_most(
        "… p99 (ms)",
        "500 records/s, floe minio+60ms: ack p99 ms",
        None,
        450.0,
    ),
    at_most(
        "old reads, MinIO, GETs (× sum of ⌈size / 4 MiB⌉ of the objects)",
        "old reads, floe minio: GETs per chunk of the objects",
        None,
        1.0,
    ),
    at_most(
        "old reads, MinIO, LISTs",
        "old reads, floe minio: LISTs",
        None,
        0.0,
    ),
    at_most(
        "tail reads, MinIO, LISTs",
        "tail reads, floe minio: LISTs",
        None,
        0.0,
    ),
    at_least(
        "old reads, MinIO, one consumer (MiB/s)",
        "old reads, floe minio: MiB/s",
        None,
        200.0,
    ),
    at_least(
        "reads of what was just written, MinIO, one consumer (MiB/s)",
        "fetch, floe minio: consumed MiB/s",
        None,
        200.0,
    ),
    // A reader at the tail gets what the producer brings, which shares the machine with the store.
    at_least(
        "tail reads, MinIO, one consumer (× produced MiB/s)",
        "tail, floe minio: consumed MiB/s",
        Some("tail, floe minio: produced MiB/s"),
        0.95,
    ),
    at_most(
        "memory, idle, folder (MiB)",
        "idle, floe folder: MiB",
        None,
        40.0,
    ),
    at_most(
        "memory, idle, MinIO (MiB)",
        "idle, floe minio: MiB",
        None,
        40.0,
    ),
    at_most(
        "memory, 1,000 × 10 partitions, idle (MiB)",
        "idle with 1,000 × 10 partitions, floe folder: MiB",
        None,
        60.0,
    ),
    at_most(
        "… after a restart (MiB)",
        "idle with 1,000 × 10 partitions after a restart, floe folder: MiB",
        None,
        60.0,
    ),
    at_most(
        "memory, peak, folder (MiB)",
        "peak memory, floe folder: MiB",
        None,
        400.0,
    ),
    at_most(
        "memory, peak, MinIO (MiB)",
        "peak memory, floe minio: MiB",
        None,
        400.0,
    ),
    at_most(
        "memory, peak, 4 producers flat out, MinIO (MiB)",
        "4 producers flat out, floe minio: peak MiB",
        None,
        400.0,
    ),
    at_most(
        "memory, idle (× Kafka)",
        "idle, floe folder: MiB",
        Some("idle, kafka folder: MiB"),
        1.0,
    ),
    at_most(
        "memory, peak (× Kafka)",
        "peak memory, floe folder: MiB",
        Some("peak memory, kafka folder: MiB"),
        1.0,
    ),
    at_most(
        "start (× Kafka)",
        "start clean, floe folder: ms",
        Some("start clean, kafka folder: ms"),
        1.0,
    ),
];

/// The goals and then every figure, as a Markdown page.
pub fn page(figures: &BTreeMap<String, Figure>) -> String {
    let mut page =
        String::from("| what | goal | reached | samples | |\n| --- | --- | --- | --- | --- |\n");
    for goal in &GOALS {
        row(&mut page, goal, figures);
    }
    page.push_str("\n| figure | median | least | most |\n| --- | ---: | ---: | ---: |\n");
    for (
        name,
        Figure {
            median,
            least,
            most,
            ..
        },
    ) in figures
    {
        writeln!(page, "| {name} | {median:.3} | {least:.3} | {most:.3} |").ok();
    }
    page
}

fn row(page: &mut String, goal: &Goal, figures: &BTreeMap<String, Figure>) {
    let (sign, bound) = match goal.bound {
        Bound::AtMost(bound) => ('≤', bound),
        Bound::AtLeast(bound) => ('≥', bound),
    };
    // A figure that was not measured in this run is no row.
    let Some(figure) = figures.get(goal.figure) else {
        return;
    };
    let divisor = match goal.over.map(|name| figures.get(name)) {
        None => 1.0,
        Some(Some(over)) => over.median,
        Some(None) => return,
    };
    let reached = figure.median / divisor;
    let met = match goal.bound {
        Bound::AtMost(bound) => reached <= bound,
        Bound::AtLeast(bound) => reached >= bound,
    };
    let verdict = if met { "met" } else { "**missed**" };
    let Goal { what, .. } = goal;
    let range = format!(
        "{:.2} to {:.2}",
        figure.least / divisor,
        figure.most / divisor
    );
    writeln!(
        page,
        "| {what} | {sign} {bound} | {reached:.2} | {range} | {verdict} |"
    )
    .ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(median: f64) -> Figure {
        Figure {
            median,
            least: median / 2.0,
            most: median * 2.0,
            samples: vec![median],
        }
    }

    #[test]
    fn ratios_are_judged_and_absent_figures_left_out() {
        let name = |name: &str| name.to_owned();
        let figures = BTreeMap::from([
            (name("produce, floe folder: server CPU-s/GiB"), figure(2.0)),
            (name("produce, kafka folder: server CPU-s/GiB"), figure(5.0)),
            (name("fetch, floe folder: server CPU-s/GiB"), figure(2.0)),
            (name("500 records/s, floe folder: ack p50 ms"), figure(11.0)),
        ]);
        let page = page(&figures);
        assert!(
            page.contains(
                "| CPU per GiB produced, folder (× Kafka) | ≤ 0.5 | 0.40 | 0.20 to 0.80 | met |"
            ),
            "{page}"
        );
        assert!(
            page.contains("folder, p50 (ms) | ≤ 10 | 11.00 | 5.50 to 22.00 | **missed** |"),
            "{page}"
        );
        assert!(!page.contains("… fetched"), "{page}");
    }
}
