//! Member of the fleet: the content and the age of its last blocks.

use super::block::{Block, METRICS, Metric, Presence};
use super::json;
use crate::alerts::{Level, level};
use crate::number::scaled;

/// Points of the sparkline: one per second.
pub(crate) const MINUTE: usize = 60;

/// Unknown point of the sparkline.
pub(crate) const UNKNOWN_POINT: u8 = 255;

/// Time without a block after which a member counts as silent even if the gateway does not report
/// it. It is longer than the gateway's own 3 s, so that a single late batch has no effect.
const SILENT_AFTER_MS: f64 = 5_000.0;

/// Time for which a gone or silent member stays in the table.
const EXPIRY_MS: f64 = 600_000.0;

/// Maximum length of a name, version or label value, in characters.
const MAX_TEXT: usize = 64;

/// State of a member's row, in the order of severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    /// No alert.
    Normal,
    /// No block has arrived yet.
    #[default]
    Unknown,
    /// At least one warning.
    Warning,
    /// No block for several seconds.
    Silent,
    /// The gateway's connection was refused or ended.
    Gone,
    /// At least one critical alert.
    Critical,
}

/// All states, by severity.
pub(crate) const STATUSES: [Status; 6] = [
    Status::Normal,
    Status::Unknown,
    Status::Warning,
    Status::Silent,
    Status::Gone,
    Status::Critical,
];

/// Most severe alert of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Alert {
    /// Measured quantity; empty if there is no alert.
    pub(crate) subject: String,
    /// Object, such as `/var/log`.
    pub(crate) target: String,
    /// Unit of the value.
    pub(crate) unit: String,
}

/// Member of the fleet.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Key of its row, never reused for another member.
    pub(crate) key: u64,
    /// Address at which the gateway reaches the member.
    pub(crate) address: String,
    /// Name of the host, if it is exposed.
    pub(crate) name: String,
    /// Version of the service.
    pub(crate) version: String,
    /// Labels, in the order of the block.
    pub(crate) labels: Vec<(String, String)>,
    /// Most severe alert.
    pub(crate) alert: Alert,
    /// Values by [`Metric`], NaN if they are unknown.
    pub(crate) metrics: [f64; METRICS.len()],
    /// CPU of the last minute in percent: one point per second, the newest last.
    pub(crate) minute: [u8; MINUTE],
    /// Index of the member's group.
    pub(crate) group: usize,
    /// State when the table was last refreshed.
    pub(crate) shown: Status,
    instance: String,
    level: Option<Level>,
    presence: Presence,
    /// Time at which the presence began.
    presence_since_ms: f64,
    /// Time at which the last new block arrived.
    updated_ms: f64,
    /// Time at which the gateway last reported its connection to the member.
    presence_ms: f64,
    /// Time of the newest point, by the member's clock.
    minute_ms: f64,
}

impl Member {
    pub(crate) fn new(key: u64, address: &str, now_ms: f64) -> Self {
        Self {
            key,
            address: address.to_owned(),
            name: String::new(),
            version: String::new(),
            labels: Vec::new(),
            alert: Alert::default(),
            metrics: [f64::NAN; METRICS.len()],
            minute: [UNKNOWN_POINT; MINUTE],
            group: 0,
            shown: Status::Unknown,
            instance: String::new(),
            level: None,
            presence: Presence::Up,
            presence_since_ms: now_ms,
            updated_ms: now_ms,
            presence_ms: now_ms,
            minute_ms: f64::NAN,
        }
    }

    /// Sets the state of the gateway's connection to the member.
    pub(crate) fn set_presence(
        &mut self,
        instance: &str,
        presence: Presence,
        since_ms: f64,
        now_ms: f64,
    ) {
        self.reset_if_other_instance(instance);
        self.presence = presence;
        self.presence_since_ms = since_ms;
        self.presence_ms = now_ms;
    }

    /// Applies a block, unless it is older than the current one. Returns whether the labels have
    /// changed.
    pub(crate) fn update(&mut self, block: &Block, now_ms: f64) -> bool {
        self.reset_if_other_instance(block.instance);
        let [before, sequence, time] = [
            self.metric(Metric::Sequence),
            block.metric(Metric::Sequence),
            block.metric(Metric::Time),
        ];
        // After a reconnect, the stream repeats blocks.
        if sequence.is_nan() || time.is_nan() || sequence <= before {
            return false;
        }
        self.updated_ms = now_ms;
        self.metrics = block.metrics;
        json::set_unescaped(&mut self.name, block.name, MAX_TEXT);
        json::set_unescaped(&mut self.version, block.version, MAX_TEXT);
        json::set_unescaped(&mut self.alert.subject, block.subject, MAX_TEXT);
        json::set_unescaped(&mut self.alert.target, block.target, MAX_TEXT);
        json::set_unescaped(&mut self.alert.unit, block.unit, MAX_TEXT);
        let labels = block.labels();
        let mut labels_changed = self.labels.len() != labels.len();
        self.labels.truncate(labels.len());
        for (index, (key, value)) in labels.iter().enumerate() {
            if index == self.labels.len() {
                self.labels.push(Default::default());
            }
            if let Some(label) = self.labels.get_mut(index) {
                labels_changed |= json::set_unescaped(&mut label.0, key, MAX_TEXT);
                labels_changed |= json::set_unescaped(&mut label.1, value, MAX_TEXT);
            }
        }
        self.level = level(block.state);
        self.push_point(time, self.metric(Metric::Cpu));
        labels_changed
    }

    /// Adds a point to the sparkline. Seconds without a point stay unknown.
    pub(crate) fn push_point(&mut self, time_ms: f64, cpu: f64) {
        let seconds = ((time_ms - self.minute_ms) / 1_000.0).round();
        // The first point, or a clock that was set back.
        if seconds.is_nan() || seconds < 0.0 {
            self.minute = [UNKNOWN_POINT; MINUTE];
        }
        let shift = usize::try_from(scaled(seconds, 1.0)).unwrap_or(MINUTE).min(MINUTE);
        self.minute.copy_within(shift.., 0);
        if let Some(missing) = self.minute.get_mut(MINUTE - shift..) {
            missing.fill(UNKNOWN_POINT);
        }
        if let Some(last) = self.minute.last_mut() {
            *last = if cpu.is_nan() { UNKNOWN_POINT } else { percent(cpu) };
        }
        self.minute_ms = time_ms;
    }

    /// Value of a metric, NaN if it is unknown.
    pub(crate) fn metric(&self, metric: Metric) -> f64 {
        self.metrics[metric as usize]
    }

    /// Level according to the service; for an older service, the highest level that a value
    /// reaches.
    fn level(&self, thresholds: &[[f64; 2]]) -> Level {
        if let Some(level) = self.level {
            return level;
        }
        let pressure = self.pressure();
        let mut worst = Level::Normal;
        // Indexes of CPU, memory and pressure among the tiles.
        for (index, value) in
            [(0, self.metric(Metric::Cpu)), (1, self.metric(Metric::Ram)), (5, pressure)]
        {
            let [warning, critical] = thresholds.get(index).copied().unwrap_or([f64::NAN; 2]);
            if value >= critical {
                return Level::Critical;
            }
            if value >= warning {
                worst = Level::Warning;
            }
        }
        worst
    }

    /// Largest of the three pressures.
    pub(crate) fn pressure(&self) -> f64 {
        self.metric(Metric::PressureCpu)
            .max(self.metric(Metric::PressureMemory))
            .max(self.metric(Metric::PressureIo))
    }

    /// State of the row at a given time.
    pub(crate) fn status(&self, thresholds: &[[f64; 2]], now_ms: f64) -> Status {
        match self.presence {
            Presence::Gone => Status::Gone,
            Presence::Silent => Status::Silent,
            Presence::Up if now_ms - self.updated_ms > SILENT_AFTER_MS => Status::Silent,
            Presence::Up if self.metric(Metric::Sequence).is_nan() => Status::Unknown,
            Presence::Up => match self.level(thresholds) {
                Level::Normal => Status::Normal,
                Level::Warning => Status::Warning,
                Level::Critical => Status::Critical,
            },
        }
    }

    /// Whether the member's values are current.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.shown, Status::Silent | Status::Gone | Status::Unknown)
    }

    /// Time at which the shown state began, by the browser's wall clock; NaN if it is unknown.
    pub(crate) fn since_unix_ms(&self, now_ms: f64, now_unix_ms: f64) -> f64 {
        match (self.shown, self.presence) {
            (Status::Unknown, _) => f64::NAN,
            (Status::Silent, Presence::Up) => now_unix_ms - (now_ms - self.updated_ms),
            (Status::Silent | Status::Gone, _) => now_unix_ms - (now_ms - self.presence_since_ms),
            // Both times are by the member's clock, so its error cancels out.
            _ => {
                let age = self.metric(Metric::Time) - self.metric(Metric::Since);
                now_unix_ms - (now_ms - self.updated_ms) - age.max(0.0)
            }
        }
    }

    /// Whether the member has been gone or silent for so long that it is removed.
    pub(crate) fn is_expired(&self, now_ms: f64) -> bool {
        let gone_ms = now_ms - self.presence_since_ms;
        let is_gone = self.presence == Presence::Gone && gone_ms > EXPIRY_MS;
        is_gone || now_ms - self.updated_ms.max(self.presence_ms) > EXPIRY_MS
    }

    /// Title of the row: a label `name`, the host's name, or the address.
    pub(crate) fn title(&self) -> &str {
        let label = self.labels.iter().find(|(key, _)| key == "name").map(|(_, value)| value);
        let name = label.unwrap_or(&self.name);
        if name.is_empty() { &self.address } else { name }
    }

    /// Value of a label, empty if there is none.
    pub(crate) fn label(&self, key: &str) -> &str {
        self.labels.iter().find(|label| label.0 == key).map_or("", |label| &label.1)
    }

    /// Removes the values of another instance at the same address.
    fn reset_if_other_instance(&mut self, instance: &str) {
        if instance.is_empty() || self.instance == instance {
            return;
        }
        if !self.instance.is_empty() {
            self.metrics = [f64::NAN; METRICS.len()];
            self.minute = [UNKNOWN_POINT; MINUTE];
            self.minute_ms = f64::NAN;
            self.level = None;
            self.alert = Alert::default();
        }
        json::set_unescaped(&mut self.instance, instance, MAX_TEXT);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn percent(value: f64) -> u8 {
    value.min(100.0) as u8
}
