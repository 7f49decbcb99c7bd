//! The machine's figures from /proc, sampled once a second, as JSON and as an event stream.

mod body;
mod proc;
mod rates;
mod routes;
mod sampler;

use std::path::PathBuf;
use std::process::ExitCode;

use runtime::{About, Launch, ListenError, Process, Settings};
use serve::Limits;

use crate::sampler::Sampler;

const ABOUT: About = About {
    name: "stats",
    version: env!("CARGO_PKG_VERSION"),
    prefix: "STATS",
    listen_name: "STATS_LISTEN",
    port: 8080,
};

/// What only this service can be told.
struct Config {
    /// Where the proc filesystem is mounted.
    proc_root: PathBuf,
}

impl Config {
    fn read(settings: &mut Settings) -> Self {
        Self {
            proc_root: settings.get_with(
                "STATS_PROC",
                "a folder: the mount point of a proc filesystem",
                PathBuf::from("/proc"),
                |text| Some(PathBuf::from(text)).filter(|path| path.is_dir()),
            ),
        }
    }
}

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
    let (latest, sampler) = Sampler::start(&config.proc_root);
    let shutdown = async {
        signal.await;
        // Only when the streams have ended can the drain complete.
        sampler.stop();
    };
    let limits = Limits { drain: process.drain, ..Limits::default() };
    let handler = move |request: hyper::Request<_>| {
        let response = routes::respond(request.method(), request.uri().path(), &latest);
        async { response }
    };
    serve::run(listener, handler, limits, shutdown).await;
    Ok(())
}
