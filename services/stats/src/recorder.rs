//! Top consumers of each second, and events. Pure, in bounded memory.

mod events;
mod top;

use wire::Sample;

use events::EventLog;
use top::TopLog;

/// Top consumers of the last ten minutes, and events of the last hour.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    instance: String,
    events: EventLog,
    top: TopLog,
}

impl Recorder {
    /// Adds the newest sample.
    pub(crate) fn push(&mut self, sample: &Sample) {
        self.instance.clone_from(&sample.instance);
        self.events.push(sample);
        self.top.push(sample);
    }

    /// Events of the last `seconds`.
    pub(crate) fn events(&self, seconds: u32) -> wire::Events {
        wire::Events { instance: self.instance.clone(), events: self.events.last(seconds) }
    }

    /// Top consumers of the last `seconds`.
    pub(crate) fn top(&self, seconds: u32) -> wire::TopHistory {
        wire::TopHistory { instance: self.instance.clone(), ..self.top.last(seconds) }
    }
}
