//! Events of the page, and the state of its connection.

use crate::alerts::Annotation;
use crate::decode::{History, Reading};
use crate::fetch::Failure;
use crate::preferences::{Settings, ViewState};

/// State of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    /// The first connection is being opened.
    #[default]
    Connecting,
    /// The service responds with 503: it has no sample yet.
    Starting,
    /// Samples arrive.
    Live,
    /// The connection has failed or is silent; the page reconnects.
    Reconnecting,
    /// The service requires a sign-in.
    SignedOut,
}

/// Event that the reducer applies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The sample that the script in `index.html` fetched while the module was loading.
    Early(Reading),
    /// A sample of the event stream.
    Sample(Reading),
    /// A polled sample. There are no samples between two polls.
    Polled(Reading),
    /// The history of the last minutes.
    History(History),
    /// The history of a longer range, with the index of the range.
    RangeHistory(usize, History),
    /// A history could not be fetched.
    HistoryFailed(Failure),
    /// The events of an instance.
    Annotations(String, Vec<Annotation>),
    /// The service has no sample yet.
    Starting,
    /// The connection failed or ended.
    Lost(Failure),
    /// Periodic timer event.
    Tick,
    /// The tab was hidden or shown.
    Hidden(bool),
    /// The address changed.
    View(ViewState),
    /// The settings were changed in another tab.
    Settings(Settings),
    /// A button with this action was pressed.
    Press(String),
    /// A threshold was entered, with its index.
    Threshold(usize, String),
    /// A search text was entered, with the index of the table.
    Search(usize, String),
    /// The pointer or the focus entered or left a list.
    InTable(bool),
    /// The pointer is at this fraction of a chart's width; `None` outside of charts.
    PointerMove(Option<f64>),
    /// A drag began at this fraction of a chart's width.
    DragStart(f64),
    /// The drag ended.
    DragEnd,
    /// The browser canceled the drag, or the pointer left the page.
    DragCancel,
    /// A key was pressed on a chart.
    Key(String),
}
