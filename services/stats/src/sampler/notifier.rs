//! Delivery of alerts to Alertmanager in a task of the runtime, so that neither the sampler nor a
//! request waits.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::endpoint::Endpoint;
use super::schedule::Schedule;
use super::source::Source;
use super::{Roots, milliseconds, view};
use crate::alertmanager::{Sender, Tracker};
use crate::alerts::Moment;
use crate::snapshot::Snapshot;

/// Path of Alertmanager's API.
const PATH: &str = "/api/v2/alerts";

/// Timeout of one message.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum delay between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Sends the alerts of each sample until sampling ends. A message that cannot be delivered is
/// created again for the next attempt, so messages do not queue up.
pub(crate) async fn notify(
    endpoint: Endpoint,
    roots: Roots,
    shows_hostname: bool,
    mut newest: watch::Receiver<Option<Arc<Snapshot>>>,
) {
    let started = Instant::now();
    // Reading a file can block.
    let sender = tokio::task::spawn_blocking(move || sender(&roots, shows_hostname));
    let mut sender = sender.await.unwrap_or_default();
    let mut tracker: Option<Tracker> = None;
    let mut delivery = Schedule::default();
    while newest.changed().await.is_ok() {
        let Some(snapshot) = newest.borrow_and_update().clone() else { continue };
        let sample = &snapshot.sample;
        let now =
            Moment { monotonic_ms: milliseconds(started.elapsed()), unix_ms: sample.time_unix_ms };
        let tracker = tracker.get_or_insert_with(|| {
            if let Some((task, _)) = sample.instance.rsplit_once('-') {
                // A task counts as a separate machine.
                task.clone_into(&mut sender.host);
            } else if sender.host.is_empty() {
                sender.host.clone_from(&sample.instance);
            }
            Tracker::new(sender.clone())
        });
        tracker.update(sample, now);
        if !delivery.is_due() {
            continue;
        }
        if let Some(message) = tracker.due(sample, now) {
            match endpoint.post(PATH, &message.json, REQUEST_TIMEOUT).await {
                Ok(_) => {
                    delivery.succeeded(Duration::ZERO);
                    if delivery.log.has_ended() {
                        tracing::info!("Alertmanager accepts alerts again");
                    }
                    tracker.mark_sent(&message, now);
                }
                Err(error) => {
                    delivery.failed(MAX_DELAY);
                    if delivery.log.is_due() {
                        tracing::warn!(%error, "cannot send alerts to Alertmanager");
                    }
                }
            }
        }
    }
}

/// Identity that the replicas on a host share: its name, if it is exposed, or the kernel's random
/// boot ID. Containers on a host share the kernel, and each has its own name.
fn sender(roots: &Roots, shows_hostname: bool) -> Sender {
    let name = shows_hostname.then(|| view::hostname(roots)).flatten();
    let boot = || first_of(&roots.proc.join("sys/kernel/random/boot_id"));
    let host = name.or_else(|| boot().map(|id| format!("boot-{}", id.replace('-', ""))));
    let container = first_of(&roots.proc.join("sys/kernel/hostname"))
        .map(|name| format!("{:08x}", crc32fast::hash(name.as_bytes())));
    let mut host = host.unwrap_or_default();
    if host.starts_with("boot-") {
        host.truncate("boot-".len() + 16);
    }
    Sender { host, container: container.unwrap_or_default() }
}

/// First line of a file.
fn first_of(path: &Path) -> Option<String> {
    let mut source = Source::at(path.to_owned());
    let line = source.read(|text| Ok(text.lines().next().unwrap_or_default().to_owned()));
    line.filter(|line| !line.is_empty())
}
