//! Accept loop of the listeners beside the main one: metrics, and the redirect to HTTPS.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use server::Acceptor;
use tokio::net::TcpListener;

use crate::state::connections::Connections;

/// Timeout of a request head, and of an idle connection. Prometheus scrapes every 15 to 60 s by
/// default; it reconnects if its connection was closed.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// Responds to requests until the process ends, on at most `most` connections. For one above that,
/// another one closes, as on the main listener. `admit` returns the permit of a client.
pub(crate) async fn run<H, P>(
    listener: TcpListener,
    most: u32,
    admit: impl Fn(IpAddr) -> Option<P>,
    respond: H,
) where
    H: Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    P: Send + 'static,
{
    let acceptor = Acceptor::new(listener, most);
    let connections = Connections::new();
    let make_room = || connections.close_longest_idle();
    loop {
        let (stream, peer, permit) = acceptor.accept_making_room(make_room).await;
        let Some(client_permit) = admit(peer.ip()) else { continue };
        let entry = Arc::new(connections.register());
        let (respond, used) = (respond.clone(), entry.clone());
        let handler = move |request: Request<Incoming>| {
            used.set_active();
            let response = respond(&request);
            used.set_idle();
            async { response }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = server::serve_connection(stream, handler, HEAD_TIME) => {}
                () = entry.close_requested() => {}
            }
            drop((permit, client_permit));
        });
    }
}
