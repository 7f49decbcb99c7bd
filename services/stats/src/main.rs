//! The machine's figures from /proc, sampled once a second, as JSON, event stream and metrics.

mod body;
mod config;
mod feed;
mod history;
mod metrics;
mod openapi;
mod origins;
mod problem;
mod proc;
mod published;
mod query;
mod rates;
mod reading;
mod recent;
mod routes;
mod sampler;
mod scope;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use runtime::{About, Build, Launch, ListenError, Process};
use serve::Limits;

use crate::config::Config;
use crate::history::History;
use crate::sampler::Sampler;
use crate::sampler::keeper::{self, Keeper};

/// What this program was made from.
const BUILD: Build = runtime::build!();

const ABOUT: About =
    About { name: "stats", build: BUILD, prefix: "STATS", listen_name: "STATS_LISTEN", port: 8080 };

// One thread is enough beside the sampler: a request is a copied pointer.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (process, config) = match runtime::launch(&ABOUT, Config::read) {
        Launch::Serve(process, config) => (process, config),
        Launch::Exit(code) => return code,
    };
    runtime::serve_until_terminated(&ABOUT, |signal| run(process, config, signal)).await
}

async fn run(
    process: Process,
    config: Config,
    signal: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let listener = runtime::listen(process.listen)?;
    let history = config.history_file.as_deref().map_or_else(History::new, keeper::load);
    let history = Arc::new(Mutex::new(history));
    let keeper = config.history_file.map(|path| Keeper::start(path, history.clone()));
    let (publisher, feed, pass_on) = feed::feed(history);
    let metadata = config.task_metadata.map(sampler::watch_metadata);
    let sampler = Sampler::start(config.sampling, metadata, publisher);
    tokio::spawn(pass_on);
    let shutdown = async {
        signal.await;
        // Only when the streams have ended can the drain complete.
        sampler.stop();
    };
    let limits = Limits { drain: process.drain, ..Limits::default() };
    let origins = Arc::new(config.origins);
    let handler = move |request: hyper::Request<_>| {
        let answer = routes::respond(&request, &feed, &origins);
        async { answer }
    };
    serve::run(listener, handler, limits, shutdown).await;
    keeper.into_iter().for_each(Keeper::finish);
    Ok(())
}
