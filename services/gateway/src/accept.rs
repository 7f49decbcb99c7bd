//! The accept loop. Pingora's `Server` brings runtimes, signal handling and a shutdown that always
//! takes its whole grace period; of pingora only the HTTP machinery is used, one connection at a
//! time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::{HttpPersistentSettings, HttpServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use serve::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::Client;

/// From a request's first byte to the end of its head. Pingora's own wait begins anew with every
/// byte, so a client that trickles would never be done.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection may be idle between requests, and before the first. Longer than the 60 s
/// of AWS's load balancer, which answers 502 when it uses a connection that is just closing.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// Accepts connections, at most `connections` at once, and has `app` answer them, until `shutdown`
/// resolves. Then idle connections and event streams end, other requests in flight get at most `drain`, and what is left
/// after that is cut off.
pub(crate) async fn run<A>(
    listener: TcpListener,
    app: Arc<A>,
    connections: u32,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let acceptor = Acceptor::new(listener, connections);
    let places = acceptor.places();
    let (closing, watch) = watch::channel(false);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, peer, place) = tokio::select! {
            () = &mut shutdown => break,
            accepted = acceptor.accept() => accepted,
        };
        let conversation = converse(app.clone(), stream, peer, watch.clone());
        tokio::spawn(async move {
            conversation.await;
            drop(place);
        });
    }
    drop(acceptor);
    app.http_cleanup().await;
    closing.send_replace(true);
    if timeout(drain, places.all_free()).await.is_err() {
        tracing::warn!(connections = places.taken(), "drain time is up, cutting off");
    }
}

/// One request after the other on one connection.
async fn converse<A>(app: Arc<A>, stream: TcpStream, peer: SocketAddr, mut closing: ShutdownWatch)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut client = Box::new(Client::new(stream, peer));
    let watch = closing.clone();
    let mut settings: Option<HttpPersistentSettings> = None;
    loop {
        let spoke = tokio::select! {
            biased;
            spoke = timeout(IDLE_TIME, client.speaks()) => spoke.unwrap_or(false),
            // An error means that the accept loop is gone, which is an end as well.
            _ = closing.wait_for(|&closing| closing) => false,
        };
        if !spoke {
            return;
        }
        let exchange = client.begin();
        let stream: Stream = client;
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(IDLE_TIME.as_secs()));
        if let Some(settings) = settings.take() {
            settings.apply_to_session(&mut session);
        }
        session.set_connection_user_context(Some(Box::new(exchange.clone())));
        let mut answer = app.process_new_http(session, &watch);
        let whole = async {
            match timeout(HEAD_TIME, &mut answer).await {
                Ok(answered) => answered,
                Err(_) if exchange.has_head() => answer.await,
                Err(_) => {
                    tracing::debug!(%peer, "request head not complete in time");
                    None
                }
            }
        };
        let events_end = async {
            exchange.events().await;
            // As above.
            let _ = closing.wait_for(|&closing| closing).await;
            // Here, because the branch below runs when the connection has been dropped.
            exchange.end_events();
        };
        let answered = tokio::select! {
            biased;
            answered = whole => answered,
            () = events_end => {
                tracing::debug!(%peer, "ending an event stream");
                None
            }
        };
        let Some(reusable) = answered else { return };
        let (stream, kept) = reusable.consume();
        let Ok(same) = stream.into_any().downcast::<Client>() else {
            return;
        };
        (client, settings) = (same, kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Exchange;
    use async_trait::async_trait;
    use pingora::apps::ReusedHttpStream;
    use std::future::pending;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, sleep};

    /// Reads one head, then takes a minute, then closes.
    struct Slow;

    #[async_trait]
    impl HttpServerApp for Slow {
        async fn process_new_http(
            self: &Arc<Self>,
            mut session: ServerSession,
            _: &ShutdownWatch,
        ) -> Option<ReusedHttpStream> {
            let context = session.take_connection_user_context()?;
            session.read_request().await.ok()?;
            context.downcast_ref::<Exchange>()?.head_is_read();
            sleep(Duration::from_mins(1)).await;
            None
        }
    }

    /// How long, on a clock that jumps, a connection lives that sends these bytes and waits.
    async fn lifetime(sent: &str) -> Duration {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut nothing = [0];
        let begun = Instant::now();
        let loops = run(listener, Arc::new(Slow), 1, Duration::ZERO, pending());
        tokio::select! {
            () = loops => unreachable!("nothing ends the loop"),
            end = client.read(&mut nothing) => assert_eq!(end.unwrap_or(0), 0),
        }
        begun.elapsed()
    }

    fn about(duration: Duration) -> impl Fn(Duration) -> bool {
        move |measured| measured >= duration && measured < duration + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_does_not_end_is_cut_off() {
        let lived = lifetime("GET / HTTP/1.1\r\nHost: a\r\n").await;
        assert!(about(HEAD_TIME)(lived), "{lived:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_longer_than_the_head() {
        let lived = lifetime("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(about(Duration::from_mins(1))(lived), "{lived:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_ends_with_the_idle_time() {
        let lived = lifetime("").await;
        assert!(about(IDLE_TIME)(lived), "{lived:?}");
    }
}
