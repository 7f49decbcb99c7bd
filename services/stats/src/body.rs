//! What an answer carries: bytes that exist already, or a stream of events to come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;

use crate::sampler::{Latest, Published};

/// The body of an answer.
pub(crate) enum Body {
    /// All of it at once; none when it was handed out.
    Whole(Option<Bytes>),
    /// Server-sent events (WHATWG HTML, section 9.2), until the publisher goes.
    Events(Events),
}

/// A viewer's stream. It holds a receiver and no queue: a viewer that reads slowly misses samples
/// and gets the newest next, and costs no memory.
pub(crate) struct Events {
    preamble: Option<Bytes>,
    samples: WatchStream<Option<Published>>,
}

/// How long a browser waits before it asks again after the stream ended.
const PREAMBLE: &str = "retry: 1000\n\n";

impl Body {
    pub(crate) fn events(latest: &Latest) -> Self {
        Self::Events(Events {
            preamble: Some(Bytes::from_static(PREAMBLE.as_bytes())),
            samples: WatchStream::new(latest.clone()),
        })
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Whole(Some(bytes.into()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take()),
            Self::Events(events) => events.poll_next(context),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}

impl Events {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(preamble) = self.preamble.take() {
            return Poll::Ready(Some(preamble));
        }
        loop {
            match std::task::ready!(Pin::new(&mut self.samples).poll_next(context)) {
                Some(Some(published)) => return Poll::Ready(Some(published.event)),
                // The sampler has not taken its second reading yet.
                Some(None) => {}
                None => return Poll::Ready(None),
            }
        }
    }
}
