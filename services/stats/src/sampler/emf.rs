//! Writes the embedded metric format of `CloudWatch` to standard output.

use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::watch;

use crate::emf::Collector;
use crate::snapshot::Snapshot;

/// Writes a line after every so many samples, until the sampling ends.
pub(crate) async fn write(seconds: u32, mut newest: watch::Receiver<Option<Arc<Snapshot>>>) {
    let mut collector = Collector::new(seconds);
    while newest.changed().await.is_ok() {
        let Some(snapshot) = newest.borrow_and_update().clone() else { continue };
        if let Some(line) = collector.push(&snapshot.sample) {
            // A line of its own between those of the log, which are written under the same lock.
            let mut output = std::io::stdout().lock();
            if let Err(error) = writeln!(output, "{line}") {
                tracing::debug!(%error, "cannot write the metrics");
            }
        }
    }
}
