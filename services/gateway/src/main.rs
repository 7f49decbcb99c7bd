//! The gateway: the one door to the system. `/stats` and below goes to stats, everything else to
//! the frontend, `/healthz` and `/readyz` are its own.

mod accept;
mod admin;
mod admission;
mod alarm;
mod cache;
mod client;
mod compression;
mod config;
mod deliver;
mod fetch;
mod forwarded;
mod gate;
mod gateway;
mod handler;
mod http2;
mod idle;
mod journal;
mod metrics;
mod policy;
mod problem;
mod routes;
mod rules;
mod socket;
mod threads;
#[cfg(feature = "tls")]
mod tls;
mod tunnel;
mod upstreams;

use std::future::Future;
use std::process::ExitCode;

use service::{Build, Launch, ListenError, Process, ServiceInfo};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::gateway::Gateway;
use crate::threads::Workers;

/// musl's own allocator takes one lock for all threads, and every request allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What this program was made from.
const BUILD: Build = service::build!();

const INFO: ServiceInfo = ServiceInfo {
    name: "gateway",
    build: BUILD,
    prefix: "GATEWAY",
    listen_name: "GATEWAY_LISTEN",
    port: 3050,
};

fn main() -> ExitCode {
    let (process, config) = match service::launch_or_explain(&INFO, Config::read, Config::explain) {
        Launch::Serve(process, config) => (process, config),
        Launch::Exit(code) => return code,
    };
    let workers = match Workers::start(config.threads) {
        Ok(workers) => workers,
        Err(error) => return threads::cannot_start(&error),
    };
    let serving = |shutdown| serve(process, config, workers, shutdown);
    threads::run(service::serve_until_terminated(&INFO, serving))
}

async fn serve(
    process: Process,
    config: Config,
    workers: Workers,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let listener = service::listen(process.listen)?;
    let admin = admin::listen(config.admin)?;
    journal::open(process.json_logs, config.log_percent);
    let hosts = config.hosts(process.listen);
    let gateway = match Gateway::start(config, hosts) {
        Ok(gateway) => gateway,
        Err(faults) => {
            // They were not there a moment ago.
            for fault in &faults {
                tracing::error!(%fault, "no routes");
            }
            return Ok(());
        }
    };
    gateway.looked_up().await;
    if let Some(admin) = admin {
        tokio::spawn(admin::run(admin, gateway.clone()));
    }
    if let Ok(mut hangup) = signal(SignalKind::hangup()) {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                gateway.reload();
                #[cfg(feature = "tls")]
                if let Some(tls) = &gateway.config.tls {
                    tls.reload();
                }
            }
        });
    }
    accept::run(listener, gateway, workers, process.drain, shutdown).await;
    journal::close();
    Ok(())
}
