//! The gateway: the one door to the system. `/stats` and below goes to stats, everything else to
//! the frontend, `/healthz` is its own.

mod accept;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "nothing asks it yet"))]
mod cache;
mod client;
mod config;
mod decision;
mod forwarded;
#[cfg_attr(not(test), expect(dead_code, reason = "wired up next"))]
mod policy;
mod problem;
mod proxy;
mod routes;
mod threads;
#[expect(dead_code, unused_imports, reason = "admin and configuration will use the rest")]
mod upstreams;

use std::future::Future;
use std::process::ExitCode;

use runtime::{About, Launch, ListenError, Process};

use crate::config::Config;

/// musl's own allocator takes one lock for all threads, and every request allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ABOUT: About = About {
    name: "gateway",
    version: env!("CARGO_PKG_VERSION"),
    prefix: "GATEWAY",
    listen_name: "GATEWAY_LISTEN",
    port: 3050,
};

fn main() -> ExitCode {
    let (process, config) = match runtime::launch(&ABOUT, Config::read) {
        Launch::Serve(process, config) => (process, config),
        Launch::Exit(code) => return code,
    };
    proxy::hush_pingora();
    threads::run(
        config.threads,
        runtime::serve_until_terminated(&ABOUT, |shutdown| serve(process, config, shutdown)),
    )
}

async fn serve(
    process: Process,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let listener = runtime::listen(process.listen)?;
    let proxy = proxy::new(&config).await;
    tracing::info!(stats = %config.stats, frontend = %config.frontend, "forwarding");
    let limit = config.max_connections;
    accept::run(listener, proxy, limit, process.drain, shutdown).await;
    Ok(())
}
