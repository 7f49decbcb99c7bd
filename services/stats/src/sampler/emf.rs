//! Writes the embedded metric format of `CloudWatch` to standard output.

use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::watch;

use crate::emf::Collector;
use crate::snapshot::Snapshot;

/// Writes a line every `seconds` samples, until sampling ends.
pub(crate) async fn write(seconds: u32, mut newest: watch::Receiver<Option<Arc<Snapshot>>>) {
    let mut collector = Collector::new(seconds);
    while newest.changed().await.is_ok() {
        let Some(snapshot) = newest.borrow_and_update().clone() else { continue };
        if let Some(line) = collector.push(&snapshot.sample, snapshot.oom_kills) {
            // A log driver that waits for its server does not read, which delays no request on
            // another thread. The lock, which log output uses too, keeps the line separate.
            let write = move || writeln!(std::io::stdout().lock(), "{line}");
            if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
                tracing::debug!(%error, "cannot write the metrics");
            }
        }
    }
}
