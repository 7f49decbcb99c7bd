//! Sampling: one tick a second, independent of the number of viewers. Its clocks and file reads are
//! here.

mod announcer;
mod bounded_reader;
mod cgroup_reader;
mod clock;
mod emf;
mod endpoint;
mod fault_log;
mod http;
mod links;
mod machine;
mod metadata;
mod notifier;
mod scan;
mod schedule;
mod scrape;
mod source;
mod view;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::alerts::Moment;
use crate::broadcast::Publisher;
use crate::glob::Selections;
use crate::labels::{self, Labels};
use crate::monitor::Monitor;
use crate::rates::{self, Exposure};
use crate::reading::{Reading, TaskReading};
use crate::scope::ScopePreference;
use crate::snapshot::Snapshot;
use machine::Machine;

pub(crate) use machine::Metadata;
pub(crate) use scrape::Scraper;
pub(crate) use view::Roots;

pub(crate) use announcer::{Announcements, Announcing, announce};
pub(crate) use emf::write as write_emf;
pub(crate) use endpoint::Endpoint;
pub(crate) use metadata::watch as watch_metadata;
pub(crate) use notifier::notify;

/// Interval between samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Interval before the first sample, shorter so that the service is ready sooner. A quarter of a
/// second is 25 clock ticks per processor, which is enough to distinguish busy from idle.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// Sampling settings.
#[derive(Clone, Debug)]
pub(crate) struct Sampling {
    pub(crate) roots: Roots,
    pub(crate) scope_preference: ScopePreference,
    pub(crate) exposed: Exposure,
    pub(crate) labels: Labels,
    pub(crate) selections: Selections,
}

/// Running sampler.
pub(crate) struct Sampler {
    publisher: Shared,
}

/// Publisher of samples; empty after sampling was stopped.
type Shared = Arc<Mutex<Option<Publisher>>>;

impl Sampler {
    /// Starts sampling on a separate thread. A read that blocks (a FUSE mount without its server)
    /// then delays neither requests nor the shutdown.
    pub(crate) fn start(
        sampling: Sampling,
        metadata: Metadata,
        monitor: Monitor,
        publisher: Publisher,
    ) -> Self {
        let publisher: Shared = Arc::new(Mutex::new(Some(publisher)));
        let sampler = Self { publisher: publisher.clone() };
        let thread = thread::Builder::new().name("sampler".to_owned());
        let run = move || sample_until_stopped(&sampling, metadata, monitor, &publisher);
        if let Err(error) = thread.spawn(run) {
            tracing::error!(%error, "cannot start the sampler thread");
        }
        sampler
    }

    /// Stops sampling. All streams end, because their publisher is dropped.
    pub(crate) fn stop(&self) {
        self.publisher.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn sample_until_stopped(
    sampling: &Sampling,
    metadata: Metadata,
    mut monitor: Monitor,
    publisher: &Shared,
) {
    let started = Instant::now();
    let mut machine = Machine::new(sampling, metadata);
    let hostname = sampling.exposed.hostname.then(|| view::hostname(&sampling.roots)).flatten();
    // Distinguishes a restarted process from an earlier one of the same task: the sequence starts
    // at 1 again.
    let random = format!("{:016x}", RandomState::new().build_hasher().finish());
    let mut instance = None;
    let mut before = (Instant::now(), Arc::new(machine.read()));
    let mut due = before.0 + FIRST_INTERVAL;
    let mut sequence = 1;
    loop {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut reading = machine.read();
        if let (Some(now), Some(earlier)) = (&mut reading.stat, &before.1.stat) {
            now.clamp_monotonic(earlier);
        }
        rates::remove_resets(&before.1, &mut reading);
        let after = (Instant::now(), Arc::new(reading));
        // Both clocks are read together, because their difference is compared. A clock before 1970
        // is reported as 1970.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moment =
            Moment { monotonic_ms: milliseconds(after.0 - started), unix_ms: milliseconds(now) };
        // After a stall (a stopped container), one sample covers the gap instead of several late
        // ones.
        due += INTERVAL;
        if due <= after.0 {
            due = after.0 + INTERVAL;
        }
        let elapsed = after.0 - before.0;
        let metrics = rates::sample(
            &before.1,
            &after.1,
            elapsed.as_secs_f64(),
            sampling.scope_preference,
            sampling.exposed,
        );
        let reading = after.1.clone();
        let reading_before = std::mem::replace(&mut before, after).1;
        // The service would report ready without any value to show.
        if sequence == 1 && metrics.cpu.is_none() && metrics.ram.is_none() {
            if !is_running(publisher) {
                return;
            }
            continue;
        }
        let instance = instance.get_or_insert_with(|| instance_of(&reading, &random));
        let mut sample = wire::Sample {
            time_unix_ms: moment.unix_ms,
            interval_ms: milliseconds(elapsed),
            instance: instance.clone(),
            sequence,
            hostname: hostname.clone(),
            labels: labels_of(&reading, &sampling.labels),
            ..metrics
        };
        monitor.observe(&mut sample, &reading_before, &reading, moment);
        match Snapshot::new(sample, reading, sampling.exposed) {
            Ok(mut snapshot) => {
                snapshot.oom_kills = monitor.oom_kills();
                let publisher = publisher.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(publisher) = publisher.as_ref() else { return };
                publisher.publish(snapshot);
                sequence += 1;
            }
            Err(error) => tracing::error!(%error, "cannot write the sample as JSON"),
        }
    }
}

fn is_running(publisher: &Shared) -> bool {
    publisher.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

fn instance_of(reading: &Reading, random: &str) -> String {
    match &reading.task {
        Some(task) if !task.task.id.is_empty() => format!("{}-{random}", task.task.id),
        _ => random.to_owned(),
    }
}

fn labels_of(reading: &Reading, own: &Labels) -> Labels {
    let Some(TaskReading { task, .. }) = &reading.task else { return own.clone() };
    let names = [
        ("family", &task.family),
        ("service", &task.service),
        ("task", &task.id),
        ("az", &task.availability_zone),
    ];
    labels::with_task(own, &names.map(|(name, value)| (name, value.as_str())))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
