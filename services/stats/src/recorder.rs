//! Who used most in each second, and what happened: pure, in bounded memory.

mod events;
mod top;

use wire::Sample;

use events::EventLog;
use top::TopLog;

/// The last ten minutes of what used most, and the last hour of events.
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

    /// The events of the last `seconds`.
    pub(crate) fn events(&self, seconds: u32) -> wire::Events {
        wire::Events { instance: self.instance.clone(), events: self.events.last(seconds) }
    }

    /// What used most in the last `seconds`.
    pub(crate) fn top(&self, seconds: u32) -> wire::TopHistory {
        wire::TopHistory { instance: self.instance.clone(), ..self.top.last(seconds) }
    }
}
