//! The addresses of one upstream: found, watched, and given to requests.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::balance::{self, Candidate};
use super::breaker::Tried;
use super::discovery::{Lookup, System, keep_looking_up};
use super::health::{self, Change, Wellness};
use super::health_check;
use super::lease::{Member, Pick};
use super::resolution::{Family, Names, Outcome};
use super::retry_budget::Budget;
use super::{CheckPath, Failure, Origin, PoolSettings, State, Target, jitter};

/// Addresses of one upstream. Beyond, those that were missing for the longest time are left.
const MOST_ADDRESSES: usize = 1024;

/// No probe is due.
const NEVER: u64 = u64::MAX;

/// One upstream. What it does beside requests ends when it is dropped; picks that are out outlive
/// it.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    target: Target,
    /// Aborted when dropped.
    _lookups: JoinSet<()>,
}

/// How one upstream stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Its addresses, in order.
    pub(crate) addresses: Vec<AddressSnapshot>,
    /// So few are well that all are used.
    pub(crate) panic: bool,
    /// Addresses given up by requests, so far.
    pub(crate) opened_total: u64,
    /// Retries allowed, so far.
    pub(crate) retries_total: u64,
    /// Retries refused by the budget, so far.
    pub(crate) retries_refused_total: u64,
}

/// How one address stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AddressSnapshot {
    /// Which one.
    pub(crate) address: SocketAddr,
    /// Whether it is used.
    pub(crate) state: State,
    /// Requests it is busy with.
    pub(crate) in_flight: usize,
    /// Connections that wait there for a request.
    pub(crate) waiting: usize,
    /// The last request or check that failed, and how long ago.
    pub(crate) last_failure: Option<(Failure, Duration)>,
}

impl Pool {
    /// Begins to look the origins up and to check what is found. Must be called inside a runtime.
    pub(crate) fn start(target: &Target, settings: &PoolSettings) -> Arc<Self> {
        Self::start_with(target, settings, &System)
    }

    /// The same, with addresses from elsewhere.
    pub(super) fn start_with(
        target: &Target,
        settings: &PoolSettings,
        lookup: &impl Lookup,
    ) -> Arc<Self> {
        let mut origins = target.origins.clone();
        origins.sort_unstable();
        origins.dedup();
        let mut literals: Vec<SocketAddr> = origins.iter().filter_map(Origin::literal).collect();
        literals.sort_unstable();
        literals.dedup();
        let names = origins.iter().filter(|origin| origin.literal().is_none()).count();
        let now = now();
        let shared = Arc::new_cyclic(|this| Shared {
            this: Weak::clone(this),
            name: target.name.clone(),
            settings: settings.clone(),
            check: target.check.clone(),
            started: now,
            view: RwLock::default(),
            probe_due: AtomicU64::new(NEVER),
            turn: AtomicUsize::new(0),
            judgement: Mutex::new(Judgement {
                names: Names::new(origins.len()),
                entries: Vec::new(),
                panic: false,
                seed: jitter::seed(),
                opened_total: 0,
            }),
            unanswered: watch::Sender::new(names),
            budget: Budget::new(now),
            retries: AtomicU64::new(0),
            retries_refused: AtomicU64::new(0),
        });
        shared.begin_with(&literals);
        let mut lookups = JoinSet::new();
        for (index, origin) in origins.into_iter().enumerate() {
            if origin.literal().is_some() {
                continue;
            }
            for family in Family::ALL {
                let (pool, every, origin) =
                    (Arc::clone(&shared), settings.resolve_every, origin.clone());
                let lookup = lookup.clone();
                lookups.spawn(keep_looking_up(pool, index, family, origin, every, lookup));
            }
        }
        Arc::new(Self { shared, target: target.clone(), _lookups: lookups })
    }

    /// What it was started for.
    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// Waits for the end of the first lookup of each name, at most for `bound`.
    pub(crate) async fn looked_up(&self, bound: Duration) {
        let mut unanswered = self.shared.unanswered.subscribe();
        // Too late: the requests will say so.
        let _ = timeout(bound, unanswered.wait_for(|&count| count == 0)).await;
    }

    /// An address for a request: a well one in turn, or of two the one with less to do. Never one
    /// of `except`, where a retry names what has been tried. `None` when nothing is left.
    pub(crate) fn pick(&self, except: &[SocketAddr]) -> Option<Pick> {
        if except.is_empty() {
            self.shared.budget.deposit();
            // Who has failed once already is not sent to where it will probably fail again.
            if let Some(probe) = self.shared.probe() {
                return Some(probe);
            }
        }
        let turn = self.shared.turn.fetch_add(1, Ordering::Relaxed);
        let view = self.shared.view.read().unwrap_or_else(PoisonError::into_inner);
        let seat = balance::choose(&view.seats, turn, except)?;
        Some(Pick::new(&seat.member))
    }

    /// Whether a retry would find another address than those tried.
    pub(crate) fn has_other_than(&self, tried: &[SocketAddr]) -> bool {
        let view = self.shared.view.read().unwrap_or_else(PoisonError::into_inner);
        view.seats.iter().any(|seat| !tried.contains(&seat.address()))
    }

    /// Whether the budget allows one more retry; takes it out of the budget if so.
    pub(crate) fn may_retry(&self) -> bool {
        let may = self.shared.budget.withdraw(now());
        let count = if may { &self.shared.retries } else { &self.shared.retries_refused };
        count.fetch_add(1, Ordering::Relaxed);
        may
    }

    /// Whether an address is known that is well. While all are used because too few are well,
    /// requests may still succeed without it.
    pub(crate) fn is_ready(&self) -> bool {
        let view = self.shared.view.read().unwrap_or_else(PoisonError::into_inner);
        view.seats.iter().any(|seat| seat.well)
    }

    /// How it stands now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = now();
        let judgement = self.shared.judgement();
        let address = |entry: &Entry| AddressSnapshot {
            address: entry.member.address(),
            state: entry.wellness.state(now),
            in_flight: entry.member.in_flight(),
            waiting: entry.member.waiting(),
            last_failure: entry
                .wellness
                .last_failure()
                .map(|(failure, at)| (failure, now.saturating_duration_since(at))),
        };
        Snapshot {
            addresses: judgement.entries.iter().map(address).collect(),
            panic: judgement.panic,
            opened_total: judgement.opened_total,
            retries_total: self.shared.retries.load(Ordering::Relaxed),
            retries_refused_total: self.shared.retries_refused.load(Ordering::Relaxed),
        }
    }
}

/// What the pool, its tasks and, through their members, its picks see.
#[derive(Debug)]
pub(super) struct Shared {
    this: Weak<Self>,
    name: String,
    settings: PoolSettings,
    check: Option<CheckPath>,
    started: Instant,
    /// What requests choose from. Written only when somebody's state changes.
    view: RwLock<View>,
    /// When the next probe may go, in nanoseconds after `started`. Requests read it instead of
    /// asking every breaker, and need no clock while it is `NEVER`.
    probe_due: AtomicU64,
    turn: AtomicUsize,
    judgement: Mutex<Judgement>,
    /// Names whose first lookup has not ended.
    unanswered: watch::Sender<usize>,
    budget: Budget,
    retries: AtomicU64,
    retries_refused: AtomicU64,
}

#[derive(Debug, Default)]
struct View {
    seats: Box<[Seat]>,
}

#[derive(Debug)]
struct Seat {
    member: Arc<Member>,
    well: bool,
}

impl Candidate for Seat {
    fn address(&self) -> SocketAddr {
        self.member.address()
    }

    fn is_well(&self) -> bool {
        self.well
    }

    fn in_flight(&self) -> usize {
        self.member.in_flight()
    }
}

/// What is behind the lock.
#[derive(Debug)]
struct Judgement {
    /// How the lookups stand.
    names: Names,
    /// All of them, each address once, in order.
    entries: Vec<Entry>,
    panic: bool,
    seed: u64,
    opened_total: u64,
}

#[derive(Debug)]
struct Entry {
    member: Arc<Member>,
    wellness: Wellness,
    /// The lookup that led here last, by name and family; none where no name is looked up.
    source: Option<(usize, Family)>,
    /// Since then that lookup leads elsewhere.
    unseen_since: Option<Instant>,
    _checks: Option<AbortOnDrop>,
}

impl Entry {
    /// Whether it counts: one that fails after its name has left it is as good as gone.
    fn counts(&self) -> bool {
        self.unseen_since.is_none() || self.wellness.is_well()
    }
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// To be logged when the lock is free again.
enum News {
    Address(SocketAddr, Change),
    Panic { well: usize, all: usize },
    Calm { well: usize, all: usize },
}

impl Shared {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A lookup of the origin at `index` has an answer. New addresses are used at once; others stay
    /// until they have been missing for [`PoolSettings::keep_unseen`] and fail. An answer without addresses is
    /// none: a name server that is just starting says the same.
    pub(super) fn found(
        &self,
        index: usize,
        family: Family,
        origin: &Origin,
        mut addresses: Vec<SocketAddr>,
    ) {
        addresses.sort_unstable();
        addresses.dedup();
        let is_empty = addresses.is_empty();
        let outcome = if is_empty { Outcome::Nothing } else { Outcome::Found };
        let mut judgement = self.judgement();
        let report = judgement.names.note(index, family, outcome);
        let counts = !is_empty || judgement.names.has_other(index, family);
        let (mut added, mut removed, mut panic) = (Vec::new(), Vec::new(), None);
        if counts {
            let changed =
                self.merge(&mut judgement, (index, family), &addresses, &mut added, &mut removed);
            if changed {
                panic = self.publish(&mut judgement);
            }
        }
        let kept = judgement.entries.len();
        drop(judgement);
        let upstream = self.name();
        if report.fails {
            let error = "the name has no address";
            tracing::warn!(upstream, name = %origin, error, kept, "does not resolve");
        }
        if report.recovers || !added.is_empty() {
            tracing::info!(upstream, name = %origin, addresses = ?added, all = kept, "resolved");
        }
        if !removed.is_empty() {
            tracing::info!(upstream, name = %origin, addresses = ?removed, "removed");
        }
        if let Some(news) = panic {
            self.log(&news);
        }
        self.end_first_wait(report.first_ended);
    }

    /// A lookup has failed, or takes too long. What was known is kept.
    pub(super) fn not_found(&self, index: usize, family: Family, origin: &Origin, error: &str) {
        let mut judgement = self.judgement();
        let report = judgement.names.note(index, family, Outcome::Nothing);
        let kept = judgement.entries.len();
        drop(judgement);
        let upstream = self.name();
        if report.fails {
            tracing::warn!(upstream, name = %origin, error, kept, "does not resolve");
        } else {
            tracing::debug!(upstream, name = %origin, ?family, error, "a lookup failed");
        }
        self.end_first_wait(report.first_ended);
    }

    fn end_first_wait(&self, ended: bool) {
        if ended {
            self.unanswered.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    pub(super) fn succeeded(&self, member: &Member, tried: Tried) {
        self.judge(member, |wellness, now, _| wellness.succeeded(tried, now));
    }

    pub(super) fn failed(&self, member: &Member, tried: Tried, failure: Failure) {
        let settings = &self.settings.breaker;
        self.judge(member, |wellness, now, chance| {
            let successes = member.take_successes();
            wellness.failed(tried, failure, successes, settings, now, chance)
        });
    }

    pub(super) fn abandoned(&self, member: &Member, tried: Tried) {
        self.judge(member, |wellness, _, _| {
            wellness.abandoned(tried);
            None
        });
    }

    /// False when the address is not in use any more.
    pub(super) fn checked(&self, member: &Member, outcome: Result<(), Failure>) -> bool {
        let settings = &self.settings.check;
        self.judge(member, |wellness, now, _| wellness.checked(outcome, settings, now))
    }

    /// Lets `event` happen to one address, and then everybody know what follows from it. False
    /// when the address has been left: a new one of the same name is somebody else.
    fn judge(
        &self,
        member: &Member,
        event: impl FnOnce(&mut Wellness, Instant, u8) -> Option<Change>,
    ) -> bool {
        let now = now();
        let mut judgement = self.judgement();
        let Judgement { entries, seed, opened_total, .. } = &mut *judgement;
        let place = entries.binary_search_by_key(&member.address(), |e| e.member.address());
        let entry = place.ok().and_then(|place| entries.get_mut(place));
        let Some(entry) = entry.filter(|entry| std::ptr::eq(&raw const *entry.member, member))
        else {
            return false;
        };
        let (was_well, was_due) = (entry.wellness.is_well(), entry.wellness.probe_due());
        let change = event(&mut entry.wellness, now, jitter::next_byte(seed));
        member.set_era(entry.wellness.era());
        if matches!(change, Some(Change::Opened(..))) {
            *opened_total = opened_total.saturating_add(1);
        }
        let (is_well, is_due) = (entry.wellness.is_well(), entry.wellness.probe_due());
        let panic = if is_well == was_well {
            // Most failures change nothing, and there may be a thousand addresses to look at.
            if is_due != was_due {
                self.plan_probe(&judgement);
            }
            None
        } else {
            self.publish(&mut judgement)
        };
        drop(judgement);
        let change = change.map(|change| News::Address(member.address(), change));
        for news in change.into_iter().chain(panic) {
            self.log(&news);
        }
        true
    }

    /// A probe, if one is due.
    fn probe(&self) -> Option<Pick> {
        let due = self.probe_due.load(Ordering::Relaxed);
        if due == NEVER {
            return None;
        }
        let now = now();
        if self.since_start(now) < due {
            return None;
        }
        let mut judgement = self.judgement();
        let probe = judgement.entries.iter_mut().find_map(|entry| {
            let tried = entry.wellness.try_probe(now)?;
            Some(Pick::probe(&entry.member, tried))
        });
        self.plan_probe(&judgement);
        probe
    }

    /// Addresses that need no lookup.
    fn begin_with(&self, addresses: &[SocketAddr]) {
        let mut judgement = self.judgement();
        judgement.entries = addresses.iter().map(|&it| self.new_entry(it, None)).collect();
        self.publish(&mut judgement);
    }

    /// Takes in what a lookup found, and out what may go; who stays keeps what is known of it. Tells
    /// whether anything has changed for requests.
    fn merge(
        &self,
        judgement: &mut Judgement,
        source: (usize, Family),
        addresses: &[SocketAddr],
        added: &mut Vec<SocketAddr>,
        removed: &mut Vec<SocketAddr>,
    ) -> bool {
        let (now, keep) = (now(), self.settings.keep_unseen);
        let entries = &mut judgement.entries;
        let mut changed = false;
        for entry in entries.iter_mut().filter(|entry| entry.source.is_some()) {
            if addresses.binary_search(&entry.member.address()).is_ok() {
                entry.source = Some(source);
                changed |= entry.unseen_since.take().is_some();
            } else if entry.source == Some(source) && entry.unseen_since.is_none() {
                entry.unseen_since = Some(now);
                changed = true;
            }
        }
        entries.retain(|entry| {
            let unseen = entry.unseen_since.map(|since| now.saturating_duration_since(since));
            let stays = entry.wellness.is_well() || unseen.is_none_or(|time| time < keep);
            if !stays {
                removed.push(entry.member.address());
            }
            stays
        });
        for &address in addresses {
            let place = entries.binary_search_by_key(&address, |entry| entry.member.address());
            let Err(place) = place else { continue };
            if entries.len() >= MOST_ADDRESSES {
                let unseen = entries.iter().enumerate();
                let unseen = unseen.filter_map(|(place, it)| Some((it.unseen_since?, place)));
                let Some((_, oldest)) = unseen.min() else { continue };
                removed.push(entries.remove(oldest).member.address());
                let place = entries.partition_point(|entry| entry.member.address() < address);
                entries.insert(place, self.new_entry(address, Some(source)));
            } else {
                entries.insert(place, self.new_entry(address, Some(source)));
            }
            added.push(address);
        }
        changed || !added.is_empty() || !removed.is_empty()
    }

    fn new_entry(&self, address: SocketAddr, source: Option<(usize, Family)>) -> Entry {
        let member = Member::new(address, Weak::clone(&self.this));
        let checks = self.check.clone().map(|path| {
            let settings = self.settings.check.clone();
            let checks = health_check::keep_checking(Arc::clone(&member), path, settings);
            AbortOnDrop(tokio::spawn(checks).abort_handle())
        });
        Entry { member, wellness: Wellness::new(), source, unseen_since: None, _checks: checks }
    }

    /// Shows the requests what has changed. Under the lock, so that the last change is the one
    /// that is shown.
    fn publish(&self, judgement: &mut Judgement) -> Option<News> {
        let counted = || judgement.entries.iter().filter(|entry| entry.counts());
        let all = counted().count();
        let well = counted().filter(|entry| entry.wellness.is_well()).count();
        let panic = health::is_panic(well, all, self.settings.panic_below_percent);
        let seats = counted().filter_map(|entry| {
            let well = entry.wellness.is_well();
            (well || panic).then(|| Seat { member: Arc::clone(&entry.member), well })
        });
        let mut view = View { seats: seats.collect() };
        std::mem::swap(&mut *self.view.write().unwrap_or_else(PoisonError::into_inner), &mut view);
        let was_panic = std::mem::replace(&mut judgement.panic, panic);
        self.plan_probe(judgement);
        match (was_panic, panic) {
            (false, true) => Some(News::Panic { well, all }),
            (true, false) => Some(News::Calm { well, all }),
            _ => None,
        }
    }

    fn plan_probe(&self, judgement: &Judgement) {
        let due = judgement.entries.iter().filter_map(|entry| entry.wellness.probe_due()).min();
        // While all are used, every request is a probe.
        let due = due.filter(|_| !judgement.panic);
        self.probe_due.store(due.map_or(NEVER, |due| self.since_start(due)), Ordering::Relaxed);
    }

    fn since_start(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started);
        u64::try_from(since.as_nanos()).unwrap_or(NEVER)
    }

    fn judgement(&self) -> MutexGuard<'_, Judgement> {
        self.judgement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, news: &News) {
        let upstream = self.name();
        match *news {
            News::Address(address, Change::Opened(failure, backoff)) => {
                let backoff_seconds = backoff.as_secs_f64();
                tracing::warn!(
                    upstream,
                    %address,
                    %failure,
                    backoff_seconds,
                    "too many requests failed"
                );
            }
            News::Address(address, Change::Unhealthy(failure)) => {
                tracing::warn!(upstream, %address, %failure, "too many checks failed");
            }
            News::Address(address, Change::Closed | Change::Healthy) => {
                tracing::info!(upstream, %address, "answers again");
            }
            News::Panic { well, all } => {
                tracing::warn!(upstream, well, all, "too few are well, so all are used");
            }
            News::Calm { well, all } => {
                tracing::info!(upstream, well, all, "enough are well again");
            }
        }
    }
}

/// The clock that tests can turn.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
