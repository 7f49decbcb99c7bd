//! Polling of the ECS task metadata endpoint, version 4.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;

use super::endpoint::{Endpoint, ExchangeError};
use super::fault_log::FaultLog;
use crate::collect::ParseError;
use crate::collect::ecs_task::{self, Task, Usage};

/// Timeout of one request. An agent under load can need seconds, and its metrics are reported for
/// ten.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// Interval between reads of the counters, which the endpoint updates about once a second.
const STATS_INTERVAL: Duration = Duration::from_secs(1);

/// Interval between reads of the task: limits never change, and states and IDs change at its start.
const TASK_INTERVAL: Duration = Duration::from_secs(30);

/// Shorter interval while containers have counters but are missing in the task.
const NEW_TASK_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum delay between two attempts at a failing endpoint.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Newest responses of the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct MetadataResponses {
    pub(crate) task: Arc<Task>,
    /// Newest counters.
    pub(crate) usage: Arc<Vec<Usage>>,
    /// Newest counters of each container with an earlier read time.
    pub(crate) usage_before: Arc<Vec<Usage>>,
    /// Time of the last change of the counters, from which their age counts.
    pub(crate) changed: Instant,
}

/// Polls the endpoint in a task of the runtime, until the last receiver is dropped.
///
/// The value stays `None` until both the task and its counters have been received.
pub(crate) fn watch(endpoint: Endpoint) -> watch::Receiver<Option<MetadataResponses>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = poll(&endpoint, &sender) => {}
        }
    });
    receiver
}

async fn poll(endpoint: &Endpoint, sender: &watch::Sender<Option<MetadataResponses>>) {
    let mut task = PolledPath::of("/task");
    let mut stats = PolledPath::of("/task/stats");
    let mut known: Option<Arc<Task>> = None;
    let mut usage: Arc<Vec<Usage>> = Arc::default();
    let mut usage_before: Arc<Vec<Usage>> = Arc::default();
    let mut changed = Instant::now();
    loop {
        sleep(task.due.min(stats.due).saturating_duration_since(Instant::now())).await;
        if task.due <= Instant::now()
            && let Some(response) = task.fetch(endpoint, TASK_INTERVAL, ecs_task::parse).await
        {
            known = Some(Arc::new(response));
        }
        if stats.due <= Instant::now()
            && let Some(response) =
                stats.fetch(endpoint, STATS_INTERVAL, ecs_task::parse_stats).await
            && let Some(known) = &known
        {
            if *usage != response {
                usage_before = Arc::new(before(&usage, &usage_before, &response));
                usage = Arc::new(response);
                changed = Instant::now();
            }
            let names = |usage: &Usage| known.containers.iter().any(|named| named.id == usage.id);
            if !usage.iter().all(names) {
                task.expedite(NEW_TASK_INTERVAL);
            }
            sender.send_replace(Some(MetadataResponses {
                task: known.clone(),
                usage: usage.clone(),
                usage_before: usage_before.clone(),
                changed,
            }));
        }
    }
}

/// Previous counters for a response: for each container the last ones or, if they have the same
/// read time, the ones before them.
fn before(last: &[Usage], before_last: &[Usage], response: &[Usage]) -> Vec<Usage> {
    let find = |list: &[Usage], usage: &Usage| {
        // The parser has sorted them by ID.
        let index = list.binary_search_by(|listed| listed.id.cmp(&usage.id)).ok()?;
        list.get(index).filter(|listed| listed.read_unix_ms != usage.read_unix_ms).cloned()
    };
    let earlier = |usage| find(last, usage).or_else(|| find(before_last, usage));
    response.iter().filter_map(earlier).collect()
}

/// One path of the endpoint, and when it is polled next.
struct PolledPath {
    path: &'static str,
    due: Instant,
    requested: Instant,
    /// Consecutive failures.
    failures: u32,
    log: FaultLog,
}

impl PolledPath {
    fn of(path: &'static str) -> Self {
        let now = Instant::now();
        Self { path, due: now, requested: now, failures: 0, log: FaultLog::default() }
    }

    /// Returns the parsed response. A fault is logged when it begins and when it ends.
    async fn fetch<T>(
        &mut self,
        endpoint: &Endpoint,
        interval: Duration,
        parse: fn(&[u8]) -> Result<T, ParseError>,
    ) -> Option<T> {
        self.requested = Instant::now();
        let response = endpoint.get(self.path, REQUEST_TIMEOUT).await;
        let result = response.map_err(RequestError::from).and_then(|body| Ok(parse(&body)?));
        let (value, fault) = match result {
            Ok(value) => (Some(value), None),
            Err(fault) => (None, Some(fault)),
        };
        self.record(fault, interval);
        value
    }

    /// Records the result of a request. It is not generic, so the binary contains it once.
    fn record(&mut self, fault: Option<RequestError>, interval: Duration) {
        let path = self.path;
        if let Some(error) = fault {
            if self.log.is_due() {
                tracing::warn!(path, %error, "the task metadata endpoint does not answer");
            }
            self.failures = self.failures.saturating_add(1);
            self.due = self.requested + delay(self.failures);
        } else {
            self.failures = 0;
            if self.log.has_ended() {
                tracing::info!(path, "the task metadata endpoint answers again");
            }
            self.due = self.requested + interval;
        }
    }

    /// Moves the next attempt forward, unless the last one failed.
    fn expedite(&mut self, interval: Duration) {
        if self.failures == 0 {
            self.due = self.due.min(self.requested + interval);
        }
    }
}

/// Delay after a failed attempt: 1, 1, 2 and 2 seconds, so that four consecutive failures lose no
/// metrics, then 4, 8, 16 and 30 seconds.
fn delay(failures: u32) -> Duration {
    let doublings = if failures <= 4 { failures.saturating_sub(1) / 2 } else { failures - 3 };
    let seconds = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    Duration::from_secs(seconds).min(MAX_DELAY)
}

/// Failure of a request to the endpoint.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error(transparent)]
    Parse(#[from] ParseError),
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const TASK: &str = include_str!("../../fixtures/fargate/task.json");
    const STATS: &str = include_str!("../../fixtures/fargate/task-stats.json");

    fn endpoint(host: &str, port: u16, path: &str) -> Endpoint {
        format!("http://{host}:{port}{path}").parse().unwrap()
    }

    #[test]
    fn a_failing_endpoint_is_polled_less_often() {
        let delays =
            [1, 2, 3, 4, 5, 6, 7, 64, 65, u32::MAX].map(|failures| delay(failures).as_secs());
        assert_eq!(delays, [1, 1, 2, 2, 4, 8, 16, 30, 30, 30]);
        // The fifth attempt comes before the last metrics are too old.
        let four: u64 = (1..=4).map(|failures| delay(failures).as_secs()).sum();
        assert!(four < 10);
    }

    #[test]
    fn counters_with_the_same_read_time_do_not_replace_earlier_ones() {
        let usage =
            |id: &str, read_unix_ms| Usage { id: id.to_owned(), read_unix_ms, ..Usage::default() };
        let before_last = [usage("a", 1), usage("b", 1), usage("gone", 1)];
        let last = [usage("a", 2), usage("b", 2)];
        let response = [usage("a", 3), usage("b", 2), usage("c", 3)];
        assert_eq!(before(&last, &before_last, &response), [usage("a", 2), usage("b", 1)]);
        assert_eq!(before(&[], &[], &response), []);
    }

    fn response(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// Starts a server that responds to each path with the function's result; returns its address.
    async fn serve(respond: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    assert!(connection.read_buf(&mut request).await.unwrap() > 0);
                }
                let request = String::from_utf8(request).unwrap();
                let path = request.split(' ').nth(1).unwrap();
                connection.write_all(respond(path).as_bytes()).await.unwrap();
            }
        });
        address
    }

    async fn next(receiver: &mut watch::Receiver<Option<MetadataResponses>>) -> MetadataResponses {
        let wait = receiver.changed();
        timeout(Duration::from_secs(10), wait).await.unwrap().unwrap();
        receiver.borrow_and_update().clone().unwrap()
    }

    #[tokio::test]
    async fn the_task_and_its_counters_arrive_together() {
        let address = serve(|path| match path {
            "/v4/id/task" => response(TASK),
            "/v4/id/task/stats" => response(STATS),
            _ => "HTTP/1.1 404 Not Found\r\n\r\n".to_owned(),
        })
        .await;
        let mut receiver = watch(endpoint("127.0.0.1", address.port(), "/v4/id"));
        assert!(receiver.borrow().is_none());
        let first = next(&mut receiver).await;
        assert_eq!(*first.task, ecs_task::parse(TASK.as_bytes()).unwrap());
        assert_eq!(*first.usage, ecs_task::parse_stats(STATS.as_bytes()).unwrap());
        assert_eq!(*first.usage_before, []);
        // The endpoint's cache returns the same counters again, so their age increases.
        let second = next(&mut receiver).await;
        assert!(Arc::ptr_eq(&first.usage, &second.usage));
        assert_eq!(second.changed, first.changed);
    }

    #[tokio::test]
    async fn new_counters_keep_the_previous_ones() {
        let count = std::sync::atomic::AtomicU32::new(0);
        let address = serve(move |path| {
            if path == "/task" {
                return response(TASK);
            }
            let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // The endpoint's cache returns the first response again.
            response(&STATS.replace(
                "21:24:44.938",
                ["21:24:44.938", "21:24:44.938", "21:24:45.938"][count.min(2) as usize],
            ))
        })
        .await;
        let mut receiver = watch(endpoint("localhost", address.port(), ""));
        let reads =
            |list: &[Usage]| list.iter().map(|usage| usage.read_unix_ms).collect::<Vec<_>>();
        assert!(next(&mut receiver).await.usage_before.is_empty());
        assert!(next(&mut receiver).await.usage_before.is_empty());
        let third = next(&mut receiver).await;
        assert_eq!(reads(&third.usage), [1_602_192_284_930, 1_602_192_285_938]);
        assert_eq!(reads(&third.usage_before), [1_602_192_284_938]);
    }

    #[tokio::test]
    async fn an_endpoint_that_starts_late_is_polled_again() {
        let count = std::sync::atomic::AtomicU32::new(0);
        let address = serve(move |path| match path {
            // The server is still starting at the first request.
            "/task" if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => {
                "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned()
            }
            "/task" => response(TASK),
            _ => response(STATS),
        })
        .await;
        let mut receiver = watch(endpoint("127.0.0.1", address.port(), ""));
        assert_eq!(next(&mut receiver).await.task.family, "stats");
    }

    #[tokio::test]
    async fn a_silent_server_delays_for_at_most_four_seconds() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = endpoint("127.0.0.1", listener.local_addr().unwrap().port(), "");
        let start = Instant::now();
        let response = endpoint.get("/task", REQUEST_TIMEOUT).await;
        assert!(matches!(response, Err(ExchangeError::TimedOut(_))));
        assert!(start.elapsed() >= Duration::from_secs(4));
        assert!(start.elapsed() < Duration::from_secs(8));
        drop(listener);
        let response = endpoint.get("/task", REQUEST_TIMEOUT).await;
        assert!(matches!(response, Err(ExchangeError::Connection(_))));
    }

    #[tokio::test]
    async fn polling_ends_with_the_last_receiver() {
        let receiver = watch(endpoint("127.0.0.1", 1, ""));
        let metrics = tokio::runtime::Handle::current().metrics();
        assert_eq!(metrics.num_alive_tasks(), 1);
        drop(receiver);
        let ended = async {
            while metrics.num_alive_tasks() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), ended).await.unwrap();
    }
}
