//! Levels of the tiles and the alerts of the page. The service determines them. An older service
//! sends no state; the page then compares the values with the viewer's thresholds.

use std::cmp::Ordering;

use crate::alerts::{Alert, Level};
use crate::metrics::Metric;
use crate::number::Cell;
use crate::panels::{Panel, TABLES, TILES, Tile};
use crate::state::Dashboard;
use crate::unit::Unit;

/// Used percentage of a filesystem for warning and critical.
const FILESYSTEM_THRESHOLDS: [f64; 2] = [90.0, 95.0];

impl Dashboard {
    /// Upper limit of a panel's values, NaN if there is none.
    pub(crate) fn limit(&self, panel: &Panel) -> f64 {
        match panel.id {
            "cpu" => 100.0,
            "memory" => self.metric(Metric::MemoryTotal),
            "swap" => self.metric(Metric::SwapTotal),
            "container" => self.metric(Metric::ContainerCpuLimit),
            _ => f64::NAN,
        }
    }

    /// Latest value of a tile; `None` if it is unknown.
    pub(crate) fn tile_value(&self, tile: &Tile) -> Option<f64> {
        combine(tile, |metric| self.metric(metric))
    }

    /// Level of a tile.
    pub(crate) fn level(&self, index: usize) -> Option<Level> {
        let tile = TILES.get(index)?;
        self.tile_value(tile)?;
        if self.latest.as_ref()?.state.is_some() {
            return Some(self.alert_of(tile.id).map_or(Level::Normal, |alert| alert.level));
        }
        Some(self.own_levels[index].map_or(Level::Normal, |(level, _)| level))
    }

    /// Most severe alert of a tile.
    pub(crate) fn alert_of(&self, tile: &str) -> Option<&Alert> {
        self.alerts.iter().filter(|alert| alert.tile() == tile).max_by(|a, b| {
            // Of equal alerts, the first one counts.
            a.level.cmp(&b.level).then(Ordering::Greater)
        })
    }

    /// Most severe level of the page.
    pub(crate) fn worst(&self) -> Level {
        let state = self.latest.as_ref().and_then(|latest| latest.state);
        let alerts = self.alerts.iter().map(|alert| alert.level).max();
        state.max(alerts).unwrap_or(Level::Normal)
    }

    /// Updates the alerts from the latest sample.
    pub(crate) fn update_alerts(&mut self) {
        let Some(latest) = &self.latest else { return };
        if latest.state.is_some() {
            self.alerts.clone_from(&latest.alerts);
            return;
        }
        let mut alerts = Vec::new();
        for (index, tile) in TILES.iter().enumerate() {
            let [warning, critical] = self.settings.thresholds[index];
            let metrics = tile.level_from.iter().copied();
            let value = |metric| self.metric(metric);
            let highest = metrics.clone().map(value).fold(f64::NAN, f64::max);
            let level = level_at(highest, warning, critical);
            let previous = self.own_levels[index];
            let since_ms = match previous {
                Some((before, since)) if before == level => since,
                // The first sample does not show when the level began.
                None => f64::NAN,
                Some(_) => latest.time_ms,
            };
            self.own_levels[index] = Some((level, since_ms));
            if level == Level::Normal || self.tile_value(tile).is_none() {
                continue;
            }
            let (subject, unit) = match tile.id {
                "ram" => ("memory", Unit::Percent),
                "load" => ("load", Unit::Short),
                "network" => ("interface", Unit::Short),
                id => (id, Unit::Percent),
            };
            let value = if tile.id == "load" { self.metric(Metric::Load1) } else { highest };
            alerts.push(threshold_alert(subject, "", level, value, unit, since_ms));
        }
        for (table, rows) in TABLES.iter().zip(&latest.tables) {
            for row in rows.iter().filter(|_| table.list == "filesystems") {
                let (Some(Cell::Text(mount)), Some(&Cell::Number(full))) =
                    (row.first(), row.last())
                else {
                    continue;
                };
                let level = level_at(full, FILESYSTEM_THRESHOLDS[0], FILESYSTEM_THRESHOLDS[1]);
                if level > Level::Normal {
                    alerts.push(threshold_alert(
                        "filesystem",
                        mount,
                        level,
                        full,
                        Unit::Percent,
                        f64::NAN,
                    ));
                }
            }
        }
        // Critical alerts come first.
        let (mut worst, rest): (Vec<_>, Vec<_>) =
            alerts.into_iter().partition(|alert| alert.level == Level::Critical);
        worst.extend(rest);
        self.alerts = worst;
    }

    /// Trend of a tile's value: greater (rising), less (falling) or equal (steady). Compares the mean
    /// of the last 10 seconds with that of the 20 seconds before; `None` if one of them is unknown.
    pub(crate) fn trend(&self, tile: &Tile) -> Option<Ordering> {
        let end = self.live().last().map_or(0.0, |row| row.time_ms);
        let mean = |from_ms: f64, to_ms: f64| {
            let (mut sum, mut count) = (0.0, 0.0);
            for row in self.live().iter().rev().take(60) {
                let age = end - row.time_ms;
                let value = combine(tile, |metric| row.value(metric));
                if let Some(value) = value.filter(|_| (from_ms..to_ms).contains(&age)) {
                    sum += value;
                    count += 1.0;
                }
            }
            sum / count
        };
        let (now, before) = (mean(0.0, 10_000.0), mean(10_000.0, 30_000.0));
        // Smaller changes are noise.
        let noise = match tile.unit {
            Unit::Percent => 2.0,
            Unit::Rate => 4_096.0_f64.max(before * 0.2),
            _ => 0.1_f64.max(before * 0.1),
        };
        if now > before + noise {
            Some(Ordering::Greater)
        } else if now < before - noise {
            Some(Ordering::Less)
        } else {
            now.partial_cmp(&before).and(Some(Ordering::Equal))
        }
    }
}

fn level_at(value: f64, warning: f64, critical: f64) -> Level {
    if value >= critical {
        Level::Critical
    } else if value >= warning {
        Level::Warning
    } else {
        Level::Normal
    }
}

fn threshold_alert(
    subject: &str,
    target: &str,
    level: Level,
    value: f64,
    unit: Unit,
    since_ms: f64,
) -> Alert {
    let (subject, target) = (subject.to_owned(), target.to_owned());
    Alert { subject, target, level, value, unit, since_ms, cause: String::new() }
}

/// Combines the metrics of a tile: the sum of rates, otherwise the largest value.
fn combine(tile: &Tile, value: impl Fn(Metric) -> f64) -> Option<f64> {
    let values = tile.metrics.iter().map(|&metric| value(metric)).filter(|value| !value.is_nan());
    match tile.unit {
        Unit::Rate => values.reduce(|sum, value| sum + value),
        _ => values.reduce(f64::max),
    }
}
