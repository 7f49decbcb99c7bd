//! The page from memory: every file is compressed at build time and served unchanged.

mod backend;
mod config;
#[cfg(feature = "dev")]
mod dev;
mod fields;
mod negotiation;
#[allow(dead_code, reason = "the build script and `dev` use the rest")]
mod page;
mod routes;
mod site;

use std::{process::ExitCode, sync::Arc};

use config::Config;
use http_semantics::hosts::Hosts;
use server::Limits;
use service::{Build, Launch, ListenError, Process, ServiceInfo};

/// The version, commit and date of this program.
const BUILD: Build = service::build!();

const INFO: ServiceInfo = ServiceInfo {
    name: "frontend",
    build: BUILD,
    prefix: "FRONTEND",
    listen_name: "FRONTEND_LISTEN",
    port: 3000,
};

// One thread is enough: a response is a few copied pointers.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (process, config) = match service::launch(&INFO, Config::read) {
        Launch::Serve(process, config) => (process, config),
        Launch::Exit(code) => return code,
    };
    service::serve_until_terminated(&INFO, |signal| run(process, config, signal)).await
}

async fn run(
    process: Process,
    config: Config,
    signal: impl Future<Output = ()>,
) -> Result<(), ListenError> {
    let listener = service::listen(process.listen)?;
    let limits = Limits { drain: process.drain, ..Limits::default() };
    #[cfg(feature = "dev")]
    if let Some(folder) = config.folder {
        dev::run(listener, folder, config.backend, limits, signal).await;
        return Ok(());
    }
    let site = Arc::new(site::Site::embedded(&config.backend));
    let hosts = Arc::new(Hosts::new(&config.hosts, process.listen.ip()));
    let handler = move |request: hyper::Request<_>| {
        let response = if is_known_host(&request, &hosts) {
            routes::respond(request.method(), request.uri().path(), request.headers(), &site)
        } else {
            routes::misdirected(&site)
        };
        async { response }
    };
    server::run(listener, handler, limits, signal).await;
    Ok(())
}

/// Whether the request is for a host that is answered. A line that is not text is for none.
fn is_known_host<B>(request: &hyper::Request<B>, hosts: &Hosts) -> bool {
    let lines = request.headers().get_all(hyper::header::HOST).into_iter();
    let lines = lines.map(|host| host.to_str().unwrap_or_default());
    let lines = lines.chain(request.uri().authority().map(hyper::http::uri::Authority::as_str));
    if routes::is_health_check(request.uri().path()) {
        hosts.admits_check(lines)
    } else {
        hosts.contains_all(lines)
    }
}
