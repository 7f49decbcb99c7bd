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
        if let Some(line) = collector.push(&snapshot.sample) {
            // The lock, which log output uses too, keeps the line separate from log lines.
            let mut output = std::io::stdout().lock();
            if let Err(error) = writeln!(output, "{line}") {
                tracing::debug!(%error, "cannot write the metrics");
            }
        }
    }
}
