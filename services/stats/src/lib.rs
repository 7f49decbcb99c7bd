//! Host metrics from /proc, sampled once a second, as JSON, event stream and Prometheus metrics.

mod alertmanager;
mod alerts;
mod body;
mod broadcast;
mod collect;
mod cors;
mod emf;
mod exposition;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod glob;
mod headers;
mod history;
mod labels;
mod memory_budget;
mod metrics;
mod monitor;
mod openapi;
mod problem;
mod query;
mod rates;
mod reading;
mod recorder;
mod replay_buffer;
mod rounding;
mod routes;
mod sampler;
mod scope;
mod settings;
mod snapshot;
mod summary;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_semantics::hosts::Hosts;
use server::Limits;
use service::{Build, Launch, ListenError, Process, ServiceInfo};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::history::History;
use crate::history::persistence::{self, Persistence};
use crate::monitor::Monitor;
use crate::routes::Access;
use crate::sampler::{Sampler, Scraper};
use crate::settings::Config;

/// Version, commit and date of this program.
const BUILD: Build = service::build!();

const INFO: ServiceInfo = ServiceInfo {
    name: "stats",
    build: BUILD,
    prefix: "STATS",
    listen_name: "STATS_LISTEN",
    port: 8080,
};

/// Maximum time after the drain for gateways to accept this instance's withdrawal, which begins
/// together with the drain.
const WITHDRAWAL_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Runs the service until it is terminated.
pub async fn run() -> ExitCode {
    let (process, config) = match service::launch(&INFO, Config::read) {
        Launch::Serve(process, config) => (process, config),
        Launch::Exit(code) => return code,
    };
    service::serve_until_terminated(&INFO, |signal| run_until(process, config, signal)).await
}

async fn run_until(
    process: Process,
    config: Config,
    signal: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let listener = service::listen(process.listen)?;
    let history = config.history_file.as_deref().map_or_else(History::new, persistence::load);
    let monitor = Monitor::new(config.rules, history.previous_version().map(str::to_owned));
    let history = Arc::new(Mutex::new(history));
    let persistence = config.history_file.map(|path| Persistence::start(path, history.clone()));
    let (publisher, feed, forward) = broadcast::feed(history);
    let metadata = config.task_metadata.map(sampler::watch_metadata);
    let scraper = Scraper::new(&config.sampling);
    if let Some(endpoint) = config.alertmanager {
        let (roots, exposed) = (config.sampling.roots.clone(), config.sampling.exposed);
        tokio::spawn(sampler::notify(endpoint, roots, exposed.hostname, feed.subscribe()));
    }
    if let Some(seconds) = config.emf_seconds {
        tokio::spawn(sampler::write_emf(seconds, feed.subscribe()));
    }
    let announcements = config.announcing.is_some().then(Arc::default);
    let mut announcers = JoinSet::new();
    if let (Some(announcing), Some(counts)) = (config.announcing, &announcements) {
        let listen = listener.local_addr().unwrap_or(process.listen);
        announcers = sampler::announce(announcing, listen, counts, &feed.subscribe());
    }
    let sampler = Sampler::start(config.sampling, metadata, monitor, publisher);
    tokio::spawn(forward);
    let shutdown = async {
        signal.await;
        // The drain cannot complete before the streams have ended.
        sampler.stop();
    };
    let limits = Limits { drain: process.drain, ..Limits::default() };
    let hosts = Hosts::new(&config.hosts, process.listen.ip());
    let access = Arc::new(Access { hosts, origins: config.origins, announcements });
    let handler = move |request: hyper::Request<_>| {
        let (feed, access) = (feed.clone(), access.clone());
        let scraper = routes::needs_scrape(&request, &access).then(|| scraper.clone());
        async move {
            let scrape = match scraper {
                Some(scraper) => scraper.scrape().await,
                None => None,
            };
            routes::respond(&request, &feed, &access, scrape.as_deref())
        }
    };
    server::run(listener, handler, limits, shutdown).await;
    let withdrawn = async { while announcers.join_next().await.is_some() {} };
    if timeout(WITHDRAWAL_TIMEOUT, withdrawn).await.is_err() {
        tracing::debug!("a gateway does not take the withdrawal");
    }
    persistence.into_iter().for_each(Persistence::finish);
    Ok(())
}
