//! The event stream of builds for open pages.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{self, HeaderValue};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Body;
use super::folder::Folder;

/// The path of the stream.
pub(crate) const STREAM_PATH: &str = "/dev/reload";

/// Interval of checks of the folder while a page is open: a fifth of a second is not noticeable,
/// and reading one small file is cheap.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Interval of comments on an idle stream. They detect closed browsers and are shorter than the
/// read timeouts of proxies.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The beginning of a stream: the reconnection delay.
const RETRY: &str = "retry: 300\n\n";

/// Events for the open pages.
pub(crate) struct Reload {
    event: watch::Sender<BuildEvent>,
    /// Whether a task watches the folder; one is enough for all.
    is_watching: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum BuildEvent {
    /// Not checked yet.
    Unknown,
    /// The folder holds this build.
    Build(u64),
    /// The server ends.
    Stop,
}

impl Default for Reload {
    fn default() -> Self {
        Self { event: watch::Sender::new(BuildEvent::Unknown), is_watching: AtomicBool::new(false) }
    }
}

impl Reload {
    /// A stream of builds, beginning with the current one.
    pub(crate) fn stream(self: &Arc<Self>, folder: &Arc<Folder>) -> Response<Body> {
        // The last one may be of the time when a page was last open.
        self.look(folder);
        let mut listener = self.event.subscribe();
        // A new subscriber receives the current build.
        listener.mark_changed();
        if !self.is_watching.swap(true, Ordering::Relaxed) {
            tokio::spawn(watch_folder(Arc::clone(self), Arc::clone(folder)));
        }
        let frames = stream::unfold(Some((listener, true)), |state| async {
            let (mut listener, is_new) = state?;
            let text = if is_new { Some(RETRY.into()) } else { next(&mut listener).await };
            let frame = Frame::data(Bytes::from(text?));
            Some((Ok::<_, Infallible>(frame), Some((listener, false))))
        });
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// Sends the build of the folder, if it is another one.
    fn look(&self, folder: &Folder) {
        // An incomplete build is ignored: the open page stays until the next build is complete.
        if let Some(build) = folder.build() {
            self.event.send_if_modified(|event| {
                let is_changed =
                    !matches!(event, BuildEvent::Stop) && *event != BuildEvent::Build(build);
                if is_changed {
                    *event = BuildEvent::Build(build);
                }
                is_changed
            });
        }
    }

    /// Ends every stream.
    pub(crate) fn stop(&self) {
        self.event.send_replace(BuildEvent::Stop);
    }
}

/// Watches the folder while a page is subscribed.
async fn watch_folder(reload: Arc<Reload>, folder: Arc<Folder>) {
    while reload.event.receiver_count() > 0 {
        reload.look(&folder);
        sleep(POLL_INTERVAL).await;
    }
    reload.is_watching.store(false, Ordering::Relaxed);
}

/// The next event of a stream, or `None` at its end.
async fn next(listener: &mut watch::Receiver<BuildEvent>) -> Option<String> {
    loop {
        match timeout(HEARTBEAT, listener.changed()).await {
            Err(_) => return Some(":\n\n".to_owned()),
            Ok(Err(_)) => return None,
            Ok(Ok(())) => {}
        }
        let event = *listener.borrow_and_update();
        match event {
            BuildEvent::Stop => return None,
            BuildEvent::Build(build) => {
                return Some(format!("event: build\ndata: {build:016x}\n\n"));
            }
            BuildEvent::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend;
    use std::fs;

    #[tokio::test]
    async fn a_stream_begins_with_the_build_that_is_there() {
        let path = std::env::temp_dir().join(format!("frontend-reload-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("index.html"), "<html></html>").unwrap();
        let folder = Arc::new(Folder { folder: path.clone(), backend: Backend::default() });
        let reload = Arc::new(Reload::default());
        reload.event.send_replace(BuildEvent::Build(1));
        let mut body = reload.stream(&folder).into_body();
        let mut text = String::new();
        while !text.contains("data: ") {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
        let build = folder.build().unwrap();
        fs::remove_dir_all(path).unwrap();
        assert!(text.ends_with(&format!("data: {build:016x}\n\n")), "{text}");
    }
}
