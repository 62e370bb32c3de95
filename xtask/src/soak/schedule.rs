//! The schedule of disturbances: who is killed, frozen, stopped or cut off, and when. It follows from the seed alone.

use std::{fmt, time::Duration};

use clap::ValueEnum;
use rand::{
    RngExt,
    rngs::ChaCha8Rng,
    seq::{IndexedRandom, SliceRandom},
};

use super::random::{self, SCHEDULE_STREAM};

/// How many web services there are.
pub(super) const WEBS: usize = 2;
/// How many processors there are.
pub(super) const PROCESSORS: usize = 3;

/// When the first disturbance comes. RabbitMQ 3.10 can lose a quorum queue that is younger than some seconds.
const FIRST_AFTER: Duration = Duration::from_secs(5);
/// The shortest and the longest time between two disturbances.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(6));
/// How long something stays killed or stopped.
const DOWN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));
/// How long something stays frozen.
const FROZEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How many of a hundred disturbances are of each kind.
const ACTIONS: [(Action, u32); 4] =
    [(Action::Kill, 50), (Action::Freeze, 15), (Action::Stop, 15), (Action::Disconnect, 20)];

/// What may be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Group {
    /// The web services
    Web,
    /// The processors
    Processor,
    /// RabbitMQ
    Broker,
    /// PostgreSQL
    Postgres,
}

/// One program that may be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Web(usize),
    Processor(usize),
    Broker,
    Postgres,
}

/// What is done to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// SIGKILL; it is started again after the pause.
    Kill,
    /// SIGSTOP, and SIGCONT after the pause.
    Freeze,
    /// A clean stop; it is started again after the pause.
    Stop,
    /// Its connections are closed.
    Disconnect,
}

/// One disturbance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disturbance {
    /// When it begins, counted from the start of the load.
    pub(super) at: Duration,
    pub(super) target: Target,
    pub(super) action: Action,
    /// How long the program is down or frozen.
    pub(super) pause: Duration,
}

/// All disturbances of a run. A longer run begins with those of a shorter one.
pub(super) fn schedule(seed: u64, groups: &[Group], length: Duration) -> Vec<Disturbance> {
    let mut drawing = Drawing::new(seed, groups);
    let mut all = Vec::new();
    let mut at = FIRST_AFTER;
    while at < length {
        all.extend(drawing.draw(at));
        at += random::between(&mut drawing.random, INTERVAL.0, INTERVAL.1);
    }
    all
}

/// What the next disturbance depends on.
struct Drawing {
    random: ChaCha8Rng,
    targets: Vec<Target>,
    /// Groups of which nothing was killed yet: each run, however short, begins with these.
    unkilled: Vec<Group>,
    /// When each target has probably recovered from its last disturbance.
    recovered: Vec<Duration>,
}

impl Drawing {
    fn new(seed: u64, groups: &[Group]) -> Self {
        let mut random = random::stream(seed, SCHEDULE_STREAM);
        let targets: Vec<_> = groups.iter().flat_map(|group| group.targets()).collect();
        let mut unkilled = groups.to_vec();
        unkilled.shuffle(&mut random);
        let recovered = vec![Duration::ZERO; targets.len()];
        Self { random, targets, unkilled, recovered }
    }

    /// The disturbance at this time, unless everybody still recovers from the one before.
    fn draw(&mut self, at: Duration) -> Option<Disturbance> {
        let first = self.unkilled.pop();
        let free: Vec<_> = (0..self.targets.len())
            .filter(|index| self.recovered[*index] <= at)
            .filter(|index| first.is_none_or(|group| self.targets[*index].group() == group))
            .collect();
        let weight = |index: &usize| self.targets[*index].group().weight();
        let index = *free.choose_weighted(&mut self.random, weight).ok()?;
        let action = if first.is_some() { Action::Kill } else { self.action() };
        let pause = match action {
            Action::Kill | Action::Stop => random::between(&mut self.random, DOWN.0, DOWN.1),
            Action::Freeze => random::between(&mut self.random, FROZEN.0, FROZEN.1),
            Action::Disconnect => Duration::ZERO,
        };
        let target = self.targets[index];
        self.recovered[index] = at + pause + target.group().recovery();
        Some(Disturbance { at, target, action, pause })
    }

    fn action(&mut self) -> Action {
        let mut number = self.random.random_range(0..100);
        for (action, share) in ACTIONS {
            if number < share {
                return action;
            }
            number -= share;
        }
        Action::Kill
    }
}

impl Group {
    fn targets(self) -> Vec<Target> {
        match self {
            Self::Web => (0..WEBS).map(Target::Web).collect(),
            Self::Processor => (0..PROCESSORS).map(Target::Processor).collect(),
            Self::Broker => vec![Target::Broker],
            Self::Postgres => vec![Target::Postgres],
        }
    }

    /// How often each of its programs is disturbed, compared with others.
    fn weight(self) -> u32 {
        match self {
            Self::Processor => 2,
            Self::Web | Self::Broker | Self::Postgres => 3,
        }
    }

    /// How long one of its programs is left alone after a disturbance, so that there is time for work between two of them.
    fn recovery(self) -> Duration {
        match self {
            Self::Web | Self::Processor => Duration::from_secs(5),
            Self::Postgres => Duration::from_secs(15),
            Self::Broker => Duration::from_secs(25),
        }
    }
}

impl Target {
    pub(super) fn group(self) -> Group {
        match self {
            Self::Web(_) => Group::Web,
            Self::Processor(_) => Group::Processor,
            Self::Broker => Group::Broker,
            Self::Postgres => Group::Postgres,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Web => "web",
            Self::Processor => "processor",
            Self::Broker => "broker",
            Self::Postgres => "postgres",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(index) | Self::Processor(index) => {
                write!(f, "{}-{}", self.group(), index + 1)
            }
            Self::Broker | Self::Postgres => self.group().fmt(f),
        }
    }
}

impl fmt::Display for Disturbance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, seconds) = (self.target, self.pause.as_secs_f64());
        match self.action {
            Action::Kill => write!(f, "kill -9 of {target}, starts again after {seconds:.1} s"),
            Action::Freeze => write!(f, "SIGSTOP to {target}, SIGCONT after {seconds:.1} s"),
            Action::Stop => write!(f, "clean stop of {target}, starts again after {seconds:.1} s"),
            Action::Disconnect => write!(f, "connections of {target} closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_gives_the_same_schedule_each_time_and_another_seed_another() {
        let groups = Group::value_variants();
        assert_eq!(schedule(7, groups, HOUR), schedule(7, groups, HOUR));
        assert_ne!(schedule(7, groups, HOUR), schedule(8, groups, HOUR));
    }

    #[test]
    fn a_longer_run_begins_with_the_disturbances_of_a_shorter_one() {
        let groups = Group::value_variants();
        let (long, short) = (schedule(7, groups, HOUR), schedule(7, groups, MINUTE));
        assert!(long.starts_with(&short) && long.len() > short.len());
    }

    #[test]
    fn each_group_is_killed_within_a_minute() {
        for seed in 0..100 {
            let all = schedule(seed, Group::value_variants(), MINUTE);
            for group in Group::value_variants() {
                let killed =
                    |one: &Disturbance| one.target.group() == *group && one.action == Action::Kill;
                assert!(all.iter().any(killed), "seed {seed} kills no {group}");
            }
        }
    }

    #[test]
    fn only_what_was_named_is_disturbed() {
        let all = schedule(7, &[Group::Broker], HOUR);
        assert!(all.iter().all(|one| one.target == Target::Broker) && all.len() > 60);
        assert_eq!(schedule(7, &[], HOUR), []);
    }

    #[test]
    fn nothing_is_disturbed_again_before_it_has_recovered() {
        let all = schedule(7, Group::value_variants(), HOUR);
        for (index, one) in all.iter().enumerate() {
            let mut later = all[index + 1..].iter();
            if let Some(next) = later.find(|next| next.target == one.target) {
                assert!(next.at >= one.at + one.pause + one.target.group().recovery());
            }
        }
    }
}
