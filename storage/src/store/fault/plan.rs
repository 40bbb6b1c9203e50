//! What may go wrong and how often, and the dice: everything a [`super::FaultStore`] does is drawn
//! here, from one seed, in the order of the requests.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::ops::Range;
use std::time::Duration;

use floe_protocol::checksum;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::store::Operation;

/// How often what goes wrong. Rates are shares of requests, 0 to 1; those of one kind of request add
/// up to 1 at most.
#[derive(Clone, PartialEq, Debug)]
pub struct FaultPlan {
    /// Half of all requests take longer.
    pub latency_median: Duration,
    /// Spread of the latency's logarithm: 0 is none, 0.5 is a calm store, 1 a nervous one.
    pub latency_sigma: f64,
    /// Share of requests that take up to a hundred times longer.
    pub slow_rate: f64,
    /// Refused with 503, no effect.
    pub throttled_rate: f64,
    /// Fails inside (500) without an effect, which the answer does not say.
    pub failed_rate: f64,
    /// Has its effect, and the answer is lost.
    pub lost_reply_rate: f64,
    /// Is answered with a failure, and has its effect up to `late_max` later.
    pub late_effect_rate: f64,
    /// How late.
    pub late_max: Duration,
    /// Never answered; half of these have an effect.
    pub hang_rate: f64,
    /// Has its effect twice: now, and again up to `late_max` later.
    pub twice_rate: f64,
    /// A create that meets another and neither lands (409). Half of these look like "already exists".
    pub conflict_rate: f64,
    /// A create that lands and is answered "already exists", by its own landing.
    pub own_conflict_rate: f64,
    /// A GET whose body ends early.
    pub short_get_rate: f64,
    /// A GET with one bit flipped.
    pub damaged_get_rate: f64,
    /// When nobody can be reached, counted from the making of the store.
    pub outages: Vec<Range<Duration>>,
}

impl FaultPlan {
    /// Nothing goes wrong and nothing takes time.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            latency_median: Duration::ZERO,
            latency_sigma: 0.0,
            slow_rate: 0.0,
            throttled_rate: 0.0,
            failed_rate: 0.0,
            lost_reply_rate: 0.0,
            late_effect_rate: 0.0,
            late_max: Duration::ZERO,
            hang_rate: 0.0,
            twice_rate: 0.0,
            conflict_rate: 0.0,
            own_conflict_rate: 0.0,
            short_get_rate: 0.0,
            damaged_get_rate: 0.0,
            outages: Vec::new(),
        }
    }

    /// The latencies of a healthy bucket in the same region.
    #[must_use]
    pub fn healthy() -> Self {
        Self {
            latency_median: Duration::from_millis(30),
            latency_sigma: 0.5,
            slow_rate: 0.001,
            ..Self::none()
        }
    }

    /// A bucket on a bad day: about one write in seven goes wrong, in every way there is.
    #[must_use]
    pub fn harsh() -> Self {
        Self {
            latency_sigma: 1.0,
            slow_rate: 0.01,
            throttled_rate: 0.03,
            failed_rate: 0.02,
            lost_reply_rate: 0.02,
            late_effect_rate: 0.02,
            late_max: Duration::from_secs(120),
            hang_rate: 0.005,
            twice_rate: 0.01,
            conflict_rate: 0.01,
            own_conflict_rate: 0.01,
            short_get_rate: 0.02,
            damaged_get_rate: 0.02,
            ..Self::healthy()
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fate {
    /// All is well.
    Served,
    /// Nobody answers: an outage.
    Unreachable,
    /// 503, no effect.
    Throttled,
    /// 500, no effect.
    Failed,
    /// Effect, no answer.
    LostReply,
    /// Failure answered, effect later.
    LateEffect,
    /// No answer ever, no effect.
    Hangs,
    /// No answer ever, effect.
    HangsWithEffect,
    /// Answered, effect twice.
    Twice,
    /// 409, no effect.
    Conflict,
    /// "Already exists", with nothing there.
    ConflictAsExists,
    /// "Already exists", by its own effect.
    OwnConflict,
    /// The body ends early.
    ShortGet,
    /// One bit of the body is wrong.
    DamagedGet,
}

/// Everything drawn for one request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Draw {
    pub(super) fate: Fate,
    /// From the caller to the effect.
    pub(super) there: Duration,
    /// From the effect to the caller.
    pub(super) back: Duration,
    /// How much later a late or second effect comes.
    pub(super) late: Duration,
    /// Whether a write lands that its caller gave up on before it did.
    pub(super) lands_unattended: bool,
    /// Picks a byte to cut at or to damage.
    pub(super) place: u64,
}

/// A plan, the dice, and what they did so far.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) plan: FaultPlan,
    rng: SmallRng,
    started: Instant,
    trace: u32,
    fates: BTreeMap<Fate, u64>,
}

impl Dice {
    pub(super) fn new(plan: FaultPlan, seed: u64) -> Self {
        Self {
            plan,
            rng: SmallRng::seed_from_u64(seed),
            started: Instant::now(),
            trace: 0,
            fates: BTreeMap::new(),
        }
    }

    pub(super) fn trace(&self) -> u32 {
        self.trace
    }

    pub(super) fn fates(&self) -> BTreeMap<Fate, u64> {
        self.fates.clone()
    }

    /// Draws for one request. Always takes as many numbers from the generator, so that one request's
    /// fate never shifts another's.
    pub(super) fn draw(&mut self, operation: Operation, path: &str, is_create: bool) -> Draw {
        let latency = self.latency();
        let share = self.rng.random_range(0.0..1.0);
        let coin = self.rng.random_bool(0.5);
        let late = self.plan.late_max.mul_f64(self.rng.random_range(0.0..=1.0));
        let lands_unattended = self.rng.random_bool(0.5);
        let fate = self.rng.random_range(0.0..1.0);
        let place = self.rng.random();
        let now = self.started.elapsed();
        let fate = if self.plan.outages.iter().any(|outage| outage.contains(&now)) {
            Fate::Unreachable
        } else {
            self.fate(operation, is_create, fate, coin)
        };
        let there = latency.mul_f64(share);
        let draw = Draw {
            fate,
            there,
            back: latency - there,
            late,
            lands_unattended,
            place,
        };
        self.record(operation, path, now, &draw);
        draw
    }

    fn fate(&self, operation: Operation, is_create: bool, drawn: f64, coin: bool) -> Fate {
        let plan = &self.plan;
        let is_write = matches!(operation, Operation::Put | Operation::Delete);
        let is_get = operation == Operation::Get;
        let when = |applies: bool, rate: f64| if applies { rate } else { 0.0 };
        let hangs = if coin && is_write {
            Fate::HangsWithEffect
        } else {
            Fate::Hangs
        };
        let conflict = if coin {
            Fate::Conflict
        } else {
            Fate::ConflictAsExists
        };
        let rates = [
            (Fate::Throttled, plan.throttled_rate),
            (Fate::Failed, plan.failed_rate),
            (hangs, plan.hang_rate),
            (Fate::LostReply, when(is_write, plan.lost_reply_rate)),
            (Fate::LateEffect, when(is_write, plan.late_effect_rate)),
            (Fate::Twice, when(is_write, plan.twice_rate)),
            (conflict, when(is_create, plan.conflict_rate)),
            (Fate::OwnConflict, when(is_create, plan.own_conflict_rate)),
            (Fate::ShortGet, when(is_get, plan.short_get_rate)),
            (Fate::DamagedGet, when(is_get, plan.damaged_get_rate)),
        ];
        let mut left = drawn;
        for (fate, rate) in rates {
            if left < rate {
                return fate;
            }
            left -= rate;
        }
        Fate::Served
    }

    /// Log-normal, now and then a hundred times longer.
    fn latency(&mut self) -> Duration {
        // Box and Muller's way from two even draws to a normal one.
        let even: f64 = self.rng.random_range(f64::MIN_POSITIVE..1.0);
        let turn: f64 = self.rng.random_range(0.0..TAU);
        let normal = (-2.0 * even.ln()).sqrt() * turn.cos();
        let slow = self.rng.random_range(0.0..1.0) < self.plan.slow_rate;
        let times = self.rng.random_range(1.0..100.0);
        let factor = (normal * self.plan.latency_sigma).exp().min(1e4);
        self.plan
            .latency_median
            .mul_f64(factor * if slow { times } else { 1.0 })
    }

    fn record(&mut self, operation: Operation, path: &str, now: Duration, draw: &Draw) {
        *self.fates.entry(draw.fate).or_default() += 1;
        let what = format!("{operation:?} {path} {now:?} {draw:?}");
        self.trace = checksum::crc32c_append(self.trace, what.as_bytes());
    }
}
