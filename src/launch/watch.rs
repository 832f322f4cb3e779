//! Finds the rank that hangs. When one rank hangs, all others wait for it, and libtorch would blame one
//! of these; so the supervisor compares what ranks do.

use std::time::{Duration, Instant};

use crate::events::Activity;

/// How long a rank may do nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct WatchTimeouts {
    /// Stopped, as by SIGSTOP.
    pub(super) stopped: Duration,
    /// Alive, while no rank makes a step.
    pub(super) stall: Duration,
    /// From its start to its first step.
    pub(super) start: Duration,
}

/// A rank that answers more rarely than this does not answer.
const SILENCE: Duration = Duration::from_secs(10);

/// What is known about a living rank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vitals {
    /// What it does, and its count of steps, if it has answered.
    doing: Option<(Activity, usize)>,
    heard: Instant,
    /// When it last began something else or made a step.
    changed: Instant,
    stopped: Option<Instant>,
}

impl Vitals {
    /// Of a rank that is started now.
    pub(super) fn new(now: Instant) -> Self {
        Self { doing: None, heard: now, changed: now, stopped: None }
    }

    /// The rank says what it does.
    pub(super) fn hear(&mut self, doing: (Activity, usize), now: Instant) {
        if self.doing.replace(doing) != Some(doing) {
            self.changed = now;
        }
        self.heard = now;
    }

    /// The system says what state its process is in, as `/proc/PID/stat` writes it.
    pub(super) fn see(&mut self, state: Option<char>, now: Instant) {
        let is_stopped = state == Some('T');
        self.stopped = is_stopped.then(|| self.stopped.unwrap_or(now));
    }

    fn is_silent(&self, now: Instant) -> bool {
        now - self.heard > SILENCE
    }

    /// Whether it does something that ends without the other ranks.
    fn works_alone(&self) -> bool {
        matches!(self.doing, None | Some((Activity::Starting | Activity::Loading, _)))
    }

    fn num_steps(&self) -> usize {
        self.doing.map_or(0, |(_, num_steps)| num_steps)
    }

    fn is_training(&self) -> bool {
        let training = [Activity::Loading, Activity::Stepping, Activity::Evaluating];
        self.doing.is_some_and(|(activity, _)| training.contains(&activity))
    }
}

/// The rank that keeps the run from going on, and what is wrong with it; `None` while the run goes on.
/// `ranks` are the living ones.
pub(super) fn hung_rank(
    ranks: &[(usize, Vitals)],
    timeouts: &WatchTimeouts,
    now: Instant,
) -> Option<(usize, String)> {
    let has_stopped =
        |vitals: &Vitals| vitals.stopped.is_some_and(|since| now - since >= timeouts.stopped);
    if let Some((rank, _)) = ranks.iter().find(|(_, vitals)| has_stopped(vitals)) {
        let message = format!(
            "has been stopped for {} s, as by SIGSTOP; end what stops it, or raise \
             train.watch.stopped_timeout_s",
            timeouts.stopped.as_secs()
        );
        return Some((*rank, message));
    }
    let trains = ranks.iter().all(|(_, vitals)| vitals.is_training());
    let (limit, key) = if trains {
        (timeouts.stall, "train.watch.stall_timeout_s")
    } else {
        (timeouts.start, "train.watch.start_timeout_s")
    };
    let last_change = ranks.iter().map(|(_, vitals)| vitals.changed).max()?;
    (now - last_change >= limit).then(|| {
        let (rank, vitals) = culprit(ranks, now);
        let what = explanation(vitals, now);
        let seconds = limit.as_secs();
        (
            rank,
            format!(
                "{what}, and no rank has gone on for {seconds} s; raise {key} if that is normal"
            ),
        )
    })
}

/// The rank that the others most probably wait for.
fn culprit(ranks: &[(usize, Vitals)], now: Instant) -> (usize, &Vitals) {
    let order =
        |vitals: &Vitals| (!vitals.is_silent(now), !vitals.works_alone(), vitals.num_steps());
    let (rank, vitals) =
        ranks.iter().min_by_key(|(_, vitals)| order(vitals)).expect("a rank is alive");
    (*rank, vitals)
}

fn explanation(vitals: &Vitals, now: Instant) -> &'static str {
    if vitals.is_silent(now) {
        return "does not answer; its disk or its driver may hang, see its log and dmesg";
    }
    match vitals.doing {
        None | Some((Activity::Starting, _)) => "has not started; check the disk of the data set",
        Some((Activity::Joining, _)) => "waits for ranks that were not started here",
        Some((Activity::WarmingUp, _)) => "has not ended its warm-up",
        Some((Activity::Loading, _)) => "waits for images; check the disk of the data set",
        Some((Activity::Stepping, _)) => "has not ended its step; see its log",
        Some((Activity::Evaluating, _)) => "has not ended its evaluation; see its log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: WatchTimeouts = WatchTimeouts {
        stopped: Duration::from_secs(5),
        stall: Duration::from_secs(300),
        start: Duration::from_secs(1800),
    };

    /// Ranks that have done this since `start` and answer every second, looked at after `seconds`.
    fn hung(doing: &[(Activity, usize)], seconds: u64) -> Option<(usize, String)> {
        let start = Instant::now();
        let ranks = doing.iter().enumerate().map(|(rank, &doing)| {
            let mut vitals = Vitals::new(start);
            (0..=seconds).for_each(|s| vitals.hear(doing, start + Duration::from_secs(s)));
            (rank, vitals)
        });
        let ranks: Vec<_> = ranks.collect();
        hung_rank(&ranks, &TIMEOUTS, start + Duration::from_secs(seconds))
    }

    #[test]
    fn a_rank_that_works_alone_is_blamed_and_not_those_that_wait_for_it() {
        let doing = [(Activity::Stepping, 7), (Activity::Loading, 7), (Activity::Stepping, 7)];
        assert_eq!(hung(&doing, 299), None);
        let (rank, message) = hung(&doing, 300).unwrap();
        assert_eq!(rank, 1);
        assert!(message.starts_with("waits for images;"), "{message}");
        assert!(
            message.ends_with("raise train.watch.stall_timeout_s if that is normal"),
            "{message}"
        );
    }

    #[test]
    fn of_ranks_in_a_step_the_last_one_is_blamed() {
        let doing = [(Activity::Stepping, 8), (Activity::Stepping, 8), (Activity::Stepping, 7)];
        assert_eq!(hung(&doing, 300).unwrap().0, 2);
    }

    #[test]
    fn a_long_warm_up_is_no_stall() {
        let doing = [(Activity::WarmingUp, 0), (Activity::Stepping, 0)];
        assert_eq!(hung(&doing, 1799), None);
        let (_, message) = hung(&doing, 1800).unwrap();
        assert!(message.contains("train.watch.start_timeout_s"), "{message}");
    }

    #[test]
    fn a_rank_that_makes_steps_keeps_the_run_alive() {
        let start = Instant::now();
        let later = start + Duration::from_secs(299);
        let [mut fast, mut slow] = [Vitals::new(start); 2];
        fast.hear((Activity::Evaluating, 1), start);
        slow.hear((Activity::Evaluating, 1), start);
        slow.hear((Activity::Evaluating, 2), later);
        let now = start + Duration::from_secs(500);
        assert_eq!(hung_rank(&[(0, fast), (1, slow)], &TIMEOUTS, now), None);
    }

    #[test]
    fn a_stopped_rank_is_named_after_its_time_and_a_continued_one_is_not() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut vitals = Vitals::new(start);
        vitals.see(Some('T'), at(1));
        vitals.see(Some('T'), at(5));
        assert_eq!(hung_rank(&[(1, vitals)], &TIMEOUTS, at(5)), None);
        let (rank, message) = hung_rank(&[(1, vitals)], &TIMEOUTS, at(6)).unwrap();
        assert_eq!(rank, 1);
        assert!(message.contains("stopped for 5 s"), "{message}");
        vitals.see(Some('S'), at(6));
        assert_eq!(hung_rank(&[(1, vitals)], &TIMEOUTS, at(6)), None);
    }

    #[test]
    fn a_silent_rank_is_blamed_first() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let [mut silent, mut waiting] = [Vitals::new(start); 2];
        silent.hear((Activity::Stepping, 9), start);
        (0..=300).for_each(|s| waiting.hear((Activity::Loading, 8), at(s)));
        let (rank, message) = hung_rank(&[(0, waiting), (1, silent)], &TIMEOUTS, at(300)).unwrap();
        assert_eq!(rank, 1);
        assert!(message.starts_with("does not answer;"), "{message}");
    }
}
