//! Development: the page from a folder, read again for each request, and an event to the open page
//! after each build. None of this is in a release.

mod folder;
mod reload;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use server::Limits;
use tokio::net::TcpListener;

use crate::backend::Backend;
use crate::dev::folder::Folder;
use crate::dev::reload::Reload;
use crate::routes;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The path of the script that listens to it.
const SCRIPT_PATH: &str = "/dev/reload.js";
/// The script.
const SCRIPT: &str = include_str!("dev/reload.js");

/// Serves the page in `folder` until `signal`, and reloads it where it is open.
pub(crate) async fn run(
    listener: TcpListener,
    folder: PathBuf,
    backend: Backend,
    limits: Limits,
    signal: impl Future<Output = ()>,
) {
    let reload = Arc::new(Reload::default());
    let shutdown = async {
        signal.await;
        // An open stream would be waited for as long as the drain allows.
        reload.stop();
    };
    let (folder, streams) = (Arc::new(Folder { folder, backend }), Arc::clone(&reload));
    let handler = move |request: Request<Incoming>| {
        let response = respond(&request, &folder, &streams);
        async { response }
    };
    server::run(listener, handler, limits, shutdown).await;
}

fn respond(
    request: &Request<Incoming>,
    folder: &Arc<Folder>,
    reload: &Arc<Reload>,
) -> Response<Body> {
    let path = request.uri().path();
    if path == reload::STREAM_PATH {
        return reload.stream(folder);
    }
    routes::respond(request.method(), path, request.headers(), &folder.site(path))
        .map(Full::boxed_unsync)
}
