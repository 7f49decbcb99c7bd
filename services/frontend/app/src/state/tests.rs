//! Tests of the reducer.

use super::*;
use crate::decode::reading;
use crate::decode::tests::test_sample;
use crate::metrics::CHARTED;

/// Row of one second that ends at `second`, with `user` as user time and no system time.
pub(crate) fn row(second: u32, user: f32) -> Row {
    let mut values = [f32::NAN; CHARTED];
    values[Metric::CpuUser as usize] = user;
    values[Metric::CpuSystem as usize] = 0.0;
    let time_ms = f64::from(second) * 1_000.0;
    Row { start_ms: time_ms - 1_000.0, time_ms, values, bounds: None, cores: Vec::new() }
}

/// Sample number `sequence` of an instance with one tick per second.
fn sample(instance: &str, sequence: u64) -> Event {
    let value = serde_json::to_value(test_sample(instance, sequence)).unwrap();
    Event::Sample(reading(&value).unwrap())
}

fn live(samples: impl IntoIterator<Item = u64>) -> Dashboard {
    let mut dashboard = Dashboard::default();
    for sequence in samples {
        dashboard.apply(sample("a", sequence), sequence as f64 * 1_000.0);
    }
    dashboard
}

fn press(dashboard: &mut Dashboard, button: &str) {
    dashboard.apply(Event::Press(button.to_owned()), 0.0);
}

#[test]
fn the_first_sample_makes_the_page_live() {
    let mut dashboard = Dashboard::default();
    assert_eq!((dashboard.link, dashboard.age_ms()), (Link::Connecting, None));
    dashboard.apply(Event::Starting, 1.0);
    assert_eq!(dashboard.link, Link::Starting);
    dashboard.apply(sample("a", 1), 5.0);
    assert_eq!((dashboard.link, dashboard.age_ms()), (Link::Live, Some(0.0)));
}

#[test]
fn a_lost_connection_keeps_the_values_and_their_age_grows() {
    let mut dashboard = live(1..=3);
    dashboard.apply(Event::Lost(Failure::Network), 4_000.0);
    dashboard.apply(Event::Tick, 15_000.0);
    assert_eq!(dashboard.link, Link::Reconnecting);
    assert_eq!(dashboard.age_ms(), Some(12_000.0));
}

#[test]
fn a_silent_stream_is_detected() {
    let mut dashboard = live(1..=1);
    assert!(!dashboard.apply(Event::Tick, 6_000.0), "nothing new");
    assert!(dashboard.apply(Event::Tick, 6_001.0));
    assert_eq!(dashboard.link, Link::Reconnecting);
}

#[test]
fn a_repeated_sample_is_ignored() {
    let mut dashboard = live(1..=5);
    dashboard.apply(Event::Lost(Failure::Network), 6_000.0);
    dashboard.apply(sample("a", 5), 7_000.0);
    assert_eq!(dashboard.link, Link::Reconnecting);
    assert_eq!(dashboard.live().len(), 5);
}

#[test]
fn another_instance_restarts_the_charts_with_a_notice() {
    let mut dashboard = live(1..=5);
    assert!(!dashboard.is_changed());
    dashboard.apply(sample("b", 1), 6_000.0);
    assert_eq!(dashboard.live().len(), 1);
    assert!(dashboard.is_changed());
    dashboard.apply(Event::Tick, 70_000.0);
    assert!(!dashboard.is_changed());
}

#[test]
fn a_history_fills_the_charts_and_the_sample_after_it_is_not_drawn_twice() {
    let mut dashboard = Dashboard::default();
    let rows: Vec<_> = (1..=600).map(|second| row(1_700_000_000 + second, 1.0)).collect();
    dashboard.apply(Event::History(History { instance: "a".to_owned(), rows }), 0.0);
    assert_eq!(dashboard.live().len(), 600);
    dashboard.apply(sample("a", 600), 0.0);
    assert_eq!(dashboard.live().len(), 600);
    dashboard.apply(sample("a", 601), 0.0);
    assert_eq!(dashboard.live().len(), 601);
}

#[test]
fn a_history_does_not_remove_the_values_of_cores() {
    let mut dashboard = live(1..=3);
    let rows = (1..=4).map(|second| row(1_700_000_000 + second, 1.0)).collect();
    dashboard.apply(Event::History(History { instance: "a".to_owned(), rows }), 0.0);
    let cores: Vec<_> = dashboard.live().iter().map(|row| row.cores.len()).collect();
    assert_eq!(cores, [2, 2, 2, 0]);
}

#[test]
fn a_clock_that_is_set_back_restarts_the_timeline() {
    let mut dashboard = live(1..=5);
    let mut earlier = test_sample("a", 6);
    earlier.time_unix_ms = 1_000;
    let earlier = reading(&serde_json::to_value(earlier).unwrap()).unwrap();
    dashboard.apply(Event::Sample(earlier), 6_000.0);
    assert_eq!(dashboard.live().len(), 1);
}

#[test]
fn a_pause_keeps_the_window_and_its_rows() {
    let mut dashboard = live(1..=5);
    let window = dashboard.window();
    press(&mut dashboard, "pause");
    dashboard.apply(sample("a", 6), 6_000.0);
    assert_eq!(dashboard.window(), window);
    assert_eq!(dashboard.rows().unwrap().len(), 5);
    press(&mut dashboard, "pause");
    assert_eq!(dashboard.rows().unwrap().len(), 6);
}

#[test]
fn a_drag_zooms_and_a_click_does_not() {
    let mut dashboard = live(1..=5);
    let (begin, end) = dashboard.window();
    dashboard.apply(Event::DragStart(0.25), 5_000.0);
    dashboard.apply(Event::PointerMove(Some(0.75)), 5_000.0);
    dashboard.apply(Event::DragEnd, 5_000.0);
    let quarter = (end - begin) / 4.0;
    assert_eq!(dashboard.window(), (begin + quarter, end - quarter));
    dashboard.apply(Event::Key("Escape".to_owned()), 5_000.0);
    assert_eq!(dashboard.window(), (begin, end));
    dashboard.apply(Event::DragStart(0.5), 5_000.0);
    dashboard.apply(Event::DragEnd, 5_000.0);
    assert_eq!((dashboard.window(), dashboard.paused), ((begin, end), None));
}

#[test]
fn the_current_range_ends_a_zoom_and_another_panel_does_not() {
    let mut dashboard = live(1..=5);
    dashboard.apply(Event::Key("+".to_owned()), 5_000.0);
    let view = ViewState { panel: Some(0), ..ViewState::default() };
    dashboard.apply(Event::View(view), 5_000.0);
    assert!(dashboard.paused.is_some());
    dashboard.apply(Event::View(view), 5_000.0);
    assert_eq!(dashboard.paused, None);
}

#[test]
fn keys_move_the_crosshair_within_the_window() {
    let mut dashboard = live(1..=5);
    let (begin, end) = dashboard.window();
    let mut key = |key: &str| {
        dashboard.apply(Event::Key(key.to_owned()), 5_000.0);
        dashboard.hover
    };
    assert_eq!(key("ArrowRight"), Some(end));
    assert_eq!(key("ArrowLeft"), Some(end - 10_000.0));
    assert_eq!(key("Home"), Some(begin));
    assert_eq!(key("Escape"), None);
}

#[test]
fn a_crosshair_stays_at_its_time_and_leaves_with_the_window() {
    let mut dashboard = live(1..=5);
    dashboard.apply(Event::PointerMove(Some(0.0)), 5_000.0);
    let hover = dashboard.hover;
    dashboard.apply(sample("a", 10), 10_000.0);
    assert_eq!(dashboard.hover, hover);
    dashboard.apply(sample("a", 30), 30_000.0);
    assert_eq!(dashboard.hover, None);
}

#[test]
fn a_list_in_use_stands_still_for_a_minute() {
    let mut dashboard = live(1..=5);
    dashboard.apply(Event::InTable(true), 5_000.0);
    let mut disks_after = |sequence: u64| {
        let Event::Sample(mut reading) = sample("a", sequence) else { unreachable!() };
        reading.tables[1].clear();
        dashboard.apply(Event::Sample(reading), sequence as f64 * 1_000.0);
        dashboard.table(1).len()
    };
    assert_eq!(disks_after(60), 3);
    assert_eq!(disks_after(66), 0);
}

#[test]
fn a_longer_range_is_shown_once_its_history_arrives() {
    let mut dashboard = live(1..=5);
    dashboard.apply(Event::View(ViewState { range: 2, panel: None }), 0.0);
    assert_eq!(dashboard.rows(), None);
    let history = History { instance: "a".to_owned(), rows: vec![row(60, 1.0)] };
    dashboard.apply(Event::RangeHistory(1, history.clone()), 0.0);
    assert_eq!(dashboard.rows(), None, "it was asked for before");
    dashboard.apply(Event::RangeHistory(2, history), 0.0);
    assert_eq!(dashboard.rows().unwrap().len(), 1);
}

#[test]
fn levels_begin_at_their_thresholds() {
    let mut dashboard = live(1..=1);
    assert_eq!(dashboard.level(0), Some(Level::Normal));
    dashboard.apply(Event::Threshold(0, "12.5".to_owned()), 0.0);
    assert_eq!(dashboard.level(0), Some(Level::Warning));
    dashboard.apply(Event::Threshold(1, "12".to_owned()), 0.0);
    assert_eq!((dashboard.level(0), dashboard.worst()), (Some(Level::Critical), Level::Critical));
    press(&mut dashboard, "reset");
    assert_eq!(dashboard.worst(), Level::Normal);
}

#[test]
fn an_unknown_value_has_no_level() {
    let mut dashboard = Dashboard::default();
    assert_eq!(dashboard.level(0), None);
    let value = serde_json::json!(
        {"instance": "a", "sequence": 1, "time_unix_ms": 1, "interval_ms": 1}
    );
    dashboard.apply(Event::Sample(reading(&value).unwrap()), 0.0);
    assert_eq!((dashboard.level(0), dashboard.worst()), (None, Level::Normal));
}

fn polled(instance: &str, sequence: u64) -> Event {
    match sample(instance, sequence) {
        Event::Sample(reading) => Event::Polled(reading),
        event => event,
    }
}

#[test]
fn polled_samples_follow_each_other_without_a_gap() {
    let mut dashboard = live(1..=1);
    dashboard.apply(polled("a", 3), 3_000.0);
    dashboard.apply(polled("a", 6), 6_000.0);
    let rows = dashboard.live();
    assert!(rows.windows(2).all(|pair| !pair[1].follows_gap(&pair[0])));
    // A longer pause is a gap.
    dashboard.apply(polled("a", 60), 60_000.0);
    let rows = dashboard.live();
    assert!(rows[rows.len() - 1].follows_gap(&rows[rows.len() - 2]));
}

#[test]
fn samples_of_another_replica_are_accepted_only_after_silence() {
    let mut dashboard = live(1..=5);
    dashboard.apply(polled("b", 900), 7_000.0);
    assert_eq!(dashboard.latest.as_ref().unwrap().instance, "a");
    dashboard.apply(polled("b", 910), 16_000.0);
    assert_eq!(dashboard.latest.as_ref().unwrap().instance, "b");
    assert!(dashboard.needs_history);
}

#[test]
fn a_history_of_another_instance_is_rejected_with_its_reason() {
    let mut dashboard = live(1..=5);
    dashboard.apply(Event::View(ViewState { range: 2, panel: None }), 0.0);
    let history = History { instance: "b".to_owned(), rows: vec![row(60, 1.0)] };
    dashboard.apply(Event::RangeHistory(2, history), 0.0);
    assert_eq!((dashboard.rows(), dashboard.history_failure), (None, Some(Failure::OtherInstance)));
    assert!(dashboard.needs_range());
}

#[test]
fn a_paused_view_survives_another_instance() {
    let mut dashboard = live(1..=5);
    press(&mut dashboard, "pause");
    dashboard.apply(sample("b", 1), 6_000.0);
    assert_eq!(dashboard.rows().unwrap().len(), 5);
    press(&mut dashboard, "pause");
    assert_eq!(dashboard.rows().unwrap().len(), 1);
}

#[test]
fn zoom_ends_at_the_shortest_window() {
    let mut dashboard = live(1..=5);
    for _ in 0..20 {
        dashboard.apply(Event::Key("+".to_owned()), 5_000.0);
    }
    let (begin, end) = dashboard.window();
    assert!((end - begin - MIN_WINDOW_MS).abs() < 1.0, "{}", end - begin);
}

#[test]
fn a_sign_in_is_a_state_of_its_own() {
    let mut dashboard = live(1..=1);
    dashboard.apply(Event::Lost(Failure::SignedOut), 2_000.0);
    assert_eq!(dashboard.link, Link::SignedOut);
}

#[test]
fn cached_memory_is_neither_used_nor_free() {
    let mut dashboard = live(1..=1);
    let mut row = row(60, 0.0);
    let gib = |count: u8| f32::from(count) * 1_073_741_824.0;
    row.values[Metric::MemoryUsed as usize] = gib(14);
    row.values[Metric::MemoryFree as usize] = gib(4);
    row.values[Metric::MemoryCached as usize] = gib(9);
    assert!((dashboard.value(&row, Metric::MemoryCached) - f64::from(gib(6))).abs() < 1.0);
    dashboard.latest = None;
    assert!((dashboard.value(&row, Metric::MemoryCached) - f64::from(gib(9))).abs() < 1.0);
}

#[test]
fn free_memory_is_not_used_memory() {
    // The test sample has 24 GiB; the kernel keeps 2 of 14 GiB for itself.
    let dashboard = live(1..=1);
    let mut row = row(60, 0.0);
    let gib = |count: u8| f32::from(count) * 1_073_741_824.0;
    assert!(dashboard.value(&row, Metric::MemoryFree).is_nan());
    row.values[Metric::MemoryUsed as usize] = gib(12);
    assert!(dashboard.value(&row, Metric::MemoryFree).is_nan());
    row.values[Metric::MemoryFree as usize] = gib(14);
    row.values[Metric::MemoryCached as usize] = gib(1);
    assert!((dashboard.value(&row, Metric::MemoryFree) - f64::from(gib(12))).abs() < 1.0);
    assert!(dashboard.value(&row, Metric::MemoryCached).abs() < 1.0);
}

#[test]
fn the_state_of_the_service_overrides_thresholds() {
    let mut value = serde_json::to_value(test_sample("a", 1)).unwrap();
    value["cpu"] = serde_json::json!(99.0);
    value["state"] = serde_json::json!("warning");
    value["alerts"] = serde_json::json!([
        {"subject": "filesystem", "target": "/", "state": "warning", "value": 91, "unit": "percent"}
    ]);
    let mut dashboard = Dashboard::default();
    dashboard.apply(Event::Sample(reading(&value).unwrap()), 0.0);
    assert_eq!(dashboard.level(0), Some(Level::Normal));
    assert_eq!((dashboard.level(4), dashboard.worst()), (Some(Level::Warning), Level::Warning));
}

fn early(instance: &str, sequence: u64) -> Event {
    match sample(instance, sequence) {
        Event::Sample(reading) => Event::Early(reading),
        event => event,
    }
}

#[test]
fn the_early_sample_is_shown_and_charts_wait_for_the_history() {
    let mut dashboard = Dashboard::default();
    dashboard.apply(early("a", 7), 100.0);
    assert_eq!((dashboard.link, dashboard.rows()), (Link::Connecting, None));
    assert_eq!(dashboard.latest.as_ref().unwrap().instance, "a");
    // The stream starts with the history and the same sample.
    dashboard.apply(Event::History(History { instance: "a".to_owned(), rows: vec![] }), 200.0);
    dashboard.apply(sample("a", 7), 200.0);
    assert_eq!(dashboard.rows().map(<[Row]>::len), Some(1));
}

#[test]
fn the_early_sample_may_be_that_of_another_replica() {
    let mut dashboard = Dashboard::default();
    dashboard.apply(early("a", 900), 100.0);
    assert_eq!(dashboard.instance(), None);
    let history = History { instance: "b".to_owned(), rows: vec![row(1, 1.0)] };
    dashboard.apply(Event::History(history), 200.0);
    dashboard.apply(polled("b", 2), 300.0);
    assert_eq!((dashboard.instance(), dashboard.is_changed()), (Some("b"), false));
    assert_eq!(dashboard.live().len(), 2);
}

#[test]
fn the_early_sample_replaces_no_newer_one() {
    let mut dashboard = Dashboard::default();
    dashboard.apply(sample("a", 9), 100.0);
    assert!(!dashboard.apply(early("a", 7), 200.0));
    assert_eq!(dashboard.latest.as_ref().map(|latest| latest.sequence), Some(9.0));
}

#[test]
fn an_early_sample_has_its_age() {
    let mut dashboard = Dashboard::default();
    dashboard.apply(early("a", 7), 100.0);
    dashboard.apply(Event::Tick, 12_100.0);
    assert_eq!((dashboard.link, dashboard.age_ms()), (Link::Connecting, Some(12_000.0)));
}

#[test]
fn a_trend_is_unknown_until_there_is_something_to_compare() {
    assert_eq!(live(1..=9).trend(&TILES[0]), None);
    assert_eq!(live(1..=20).trend(&TILES[0]), Some(std::cmp::Ordering::Equal));
}
