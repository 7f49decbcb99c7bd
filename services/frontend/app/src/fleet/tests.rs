//! Tests of the fleet, from the lines of an event to the lines of the table.

use super::block::Metric;
use super::member::{MINUTE, Status, UNKNOWN_POINT};
use super::query::{COLUMNS, Query, value};
use super::state::{Fleet, Line, compare_names, line};
use super::text::{alert_text, change_text, csv, labels_text, span_text, summary_text, title};
use crate::number::Format;
use crate::state::Link;

const FORMAT: Format = Format { point: '.', decimal: false };

/// Wall-clock time at zero of the browser's monotonic clock.
const BEGIN_UNIX_MS: f64 = 1_800_000_000_000.0;

struct Stage {
    fleet: Fleet,
    now_ms: f64,
}

impl Stage {
    fn new() -> Self {
        let mut fleet = Fleet::default();
        fleet.thresholds = vec![[75.0, 90.0]; 6];
        Self { fleet, now_ms: 0.0 }
    }

    /// Merges lines, a second after the previous ones.
    fn send(&mut self, lines: &[String]) {
        self.now_ms += 1_000.0;
        self.fleet.merge(&lines.join("\n"), self.now_ms, BEGIN_UNIX_MS + self.now_ms);
    }

    fn names(&self) -> Vec<String> {
        let name = |line: &Line| match *line {
            Line::Group(index) => ["[", &self.fleet.groups[index].name, "]"].concat(),
            Line::Member(index) => self.fleet.members[index].title().to_owned(),
        };
        self.fleet.lines.iter().map(name).collect()
    }

    fn status(&self, index: usize) -> Status {
        self.fleet.members[index].shown
    }
}

fn up(member: &str) -> String {
    [member, r#" member {"state":"up","instance":"i","since_unix_ms":1}"#].concat()
}

/// Builds the block of a second, with further fields.
fn block(member: &str, sequence: u32, more: &str) -> String {
    let time = BEGIN_UNIX_MS + f64::from(sequence) * 1_000.0;
    format!(
        r#"{member} summary {{"instance":"i","sequence":{sequence},"time_unix_ms":{time},{more}"since_unix_ms":{}}}"#,
        BEGIN_UNIX_MS - 60_000.0
    )
}

#[test]
fn a_block_becomes_a_row() {
    let mut stage = Stage::new();
    let more = r#""name":"web-1","labels":{"team":"web","az":"eu-1"},"state":"warning",
        "alert":{"subject":"filesystem","target":"/var/log","state":"warning","value":99.3,"unit":"percent"},
        "cpu":12.5,"ram":40,"pressure":{"cpu":1,"memory":2.5,"io":0.5},
        "network":{"received":10,"sent":5},"disk":{"read":null},"version":"1.2.3","#;
    stage.send(&[up("a:1"), block("a:1", 1, &more.replace('\n', ""))]);
    let member = &stage.fleet.members[0];
    assert_eq!((member.title(), &*member.version), ("web-1", "1.2.3"));
    assert_eq!(labels_text(member), "team=web  az=eu-1");
    assert_eq!(member.shown, Status::Warning);
    let alert = alert_text(&member.alert, member.metric(Metric::AlertValue), FORMAT);
    assert_eq!(alert, "/var/log is 99.3\u{a0}% full");
    let values: Vec<_> = (0..COLUMNS.len()).map(|index| value(member, index)).collect();
    let near = |index: usize, wanted: f64| (values[index] - wanted).abs() < 1e-9;
    assert!(near(3, 12.5) && near(4, 40.0) && near(5, 2.5) && near(6, 15.0), "{values:?}");
    assert!(values[7].is_nan(), "null is not known");
    let since = member.since_unix_ms(stage.now_ms, BEGIN_UNIX_MS + stage.now_ms);
    assert!((since - (BEGIN_UNIX_MS - 60_000.0)).abs() < 1.0, "{since}");
    assert_eq!(stage.fleet.link, Link::Live);
}

#[test]
fn rows_are_sorted_by_severity_and_age() {
    let mut stage = Stage::new();
    let judged = |member: &str, level: &str, since: f64| {
        format!(
            r#"{member} summary {{"sequence":1,"time_unix_ms":9,"state":"{level}","since_unix_ms":{since}}}"#
        )
    };
    stage.send(&[
        judged("d", "normal", 1.0),
        judged("b", "critical", 5.0),
        judged("a", "critical", 9.0),
        judged("c", "warning", 2.0),
        r#"e member {"state":"gone","since_unix_ms":1799999999000}"#.to_owned(),
    ]);
    assert_eq!(stage.names(), ["b", "a", "e", "c", "d"]);
    assert_eq!(summary_text(&stage.fleet), "2 critical, 1 warning, 1 gone, of 5");
    assert_eq!(title(&stage.fleet), "\u{25c6} 2 critical, 1 warning, 1 gone, of 5");
    stage.fleet.set_disconnected();
    assert_eq!(title(&stage.fleet), "Reconnecting\u{2026}");
}

#[test]
fn older_services_get_levels_from_the_viewers_thresholds() {
    let mut stage = Stage::new();
    stage.send(&[
        block("a", 1, r#""cpu":95,"#),
        block("b", 1, r#""ram":80,"#),
        block("c", 1, r#""cpu":5,"#),
        block("d", 1, r#""state":"normal","cpu":100,"#),
    ]);
    assert_eq!(
        [0, 1, 2, 3].map(|index| stage.status(index)),
        [Status::Critical, Status::Warning, Status::Normal, Status::Normal]
    );
}

#[test]
fn silence_is_never_shown_as_live() {
    let mut stage = Stage::new();
    stage.send(&[up("a"), up("b"), block("a", 1, ""), block("b", 1, "")]);
    assert!(stage.fleet.members[0].is_live());
    for sequence in 2..8 {
        stage.send(&[block("b", sequence, "")]);
    }
    // The gateway has not reported the silence.
    assert_eq!((stage.status(0), stage.status(1)), (Status::Silent, Status::Normal));
    let since = stage.fleet.members[0].since_unix_ms(stage.now_ms, BEGIN_UNIX_MS + stage.now_ms);
    assert!((since - BEGIN_UNIX_MS - 1_000.0).abs() < 1.0, "{since}");
    // A repeated block does not end the silence.
    stage.send(&[block("a", 1, "")]);
    assert_eq!(stage.status(0), Status::Silent);
    stage.send(&[block("a", 2, "")]);
    assert_eq!(stage.status(0), Status::Normal);
    // A stream without events is not live either.
    assert!(!stage.fleet.tick(stage.now_ms + 5_000.0, BEGIN_UNIX_MS));
    assert!(stage.fleet.tick(stage.now_ms + 5_001.0, BEGIN_UNIX_MS));
    assert_eq!((stage.fleet.link, stage.status(1)), (Link::Reconnecting, Status::Silent));
}

#[test]
fn a_gone_member_is_kept_for_ten_minutes() {
    let mut stage = Stage::new();
    stage.send(&[up("a"), up("b"), block("a", 1, "")]);
    let gone =
        format!(r#"a member {{"state":"gone","instance":"i","since_unix_ms":{BEGIN_UNIX_MS}}}"#);
    stage.send(&[gone]);
    assert_eq!(stage.status(0), Status::Gone);
    let mut second = |second: u32| {
        stage.now_ms = f64::from(second) * 1_000.0;
        stage.send(&[up("b"), block("b", second, "")]);
        stage.names()
    };
    assert_eq!(second(598), ["a", "b"]);
    assert_eq!(second(602), ["b"]);
}

#[test]
fn a_viewers_clock_that_is_fast_changes_no_age() {
    let mut stage = Stage::new();
    stage.send(&[up("a"), block("a", 1, "")]);
    let time = BEGIN_UNIX_MS - 7_200_000.0;
    let since = time - 60_000.0;
    let is = |name: &str, state: &str| {
        let (state, times) = (
            format!(r#"{{"state":"{state}","instance":"i""#),
            format!(r#""since_unix_ms":{since},"time_unix_ms":{time}}}"#),
        );
        format!("{name} member {state},{times}")
    };
    stage.send(&[is("a", "gone"), is("b", "gone"), is("c", "silent")]);
    for (index, state) in [Status::Gone, Status::Gone, Status::Silent].into_iter().enumerate() {
        assert_eq!(stage.status(index), state);
        let now_unix_ms = BEGIN_UNIX_MS + stage.now_ms;
        let since = stage.fleet.members[index].since_unix_ms(stage.now_ms, now_unix_ms);
        assert!((now_unix_ms - since - 60_000.0).abs() < 1.0, "{since}");
    }
    // A name that is removed leaves at once.
    stage.send(&[r#"a member {"state":"gone","since_unix_ms":0}"#.to_owned()]);
    assert_eq!(stage.names(), ["b", "c"]);
}

#[test]
fn another_instance_at_the_same_address_has_no_old_values() {
    let mut stage = Stage::new();
    stage.send(&[block("a", 900, r#""cpu":95,"ram":9,"#)]);
    stage.send(&[block("a", 1, r#""cpu":1,"#).replace(r#""i""#, r#""other""#)]);
    let member = &stage.fleet.members[0];
    assert!((member.metric(Metric::Cpu) - 1.0).abs() < 1e-9);
    assert!(member.metric(Metric::Ram).is_nan());
    assert_eq!(member.minute[MINUTE - 2], UNKNOWN_POINT);
}

#[test]
fn a_minute_fills_the_sparkline_and_keeps_gaps() {
    let mut stage = Stage::new();
    let minute =
        r#"a minute {"instance":"i","times_unix_ms":[1000,2000,4000],"cpu":[10,null,30],"ram":[]}"#;
    stage.send(&[minute.to_owned()]);
    let tail = |stage: &Stage| stage.fleet.members[0].minute[MINUTE - 4..].to_vec();
    assert_eq!(tail(&stage), [10, UNKNOWN_POINT, UNKNOWN_POINT, 30]);
    assert_eq!(line(&stage.fleet.members[0].minute), "M560 162h0M590 126h0");
    // Repeated points change nothing, and a clock that was set back restarts the line.
    stage.send(&[minute.to_owned()]);
    assert_eq!(tail(&stage), [10, UNKNOWN_POINT, UNKNOWN_POINT, 30]);
    stage.fleet.members[0].push_point(500.0, 50.0);
    assert_eq!(tail(&stage), [UNKNOWN_POINT, UNKNOWN_POINT, UNKNOWN_POINT, 50]);
    stage.fleet.members[0].push_point(1e300, 1e300);
    assert_eq!(tail(&stage), [UNKNOWN_POINT, UNKNOWN_POINT, UNKNOWN_POINT, 100]);
}

#[test]
fn a_query_filters_sorts_and_groups() {
    let mut stage = Stage::new();
    let label = |member: &str, team: &str, cpu: u32| {
        let more = format!(
            r#""labels":{{"team":"{team}"}},"cpu":{cpu},"ram":50,"limits":{{"cpus":{cpu}}},"network":{{"received":100}},"state":"normal","#
        );
        block(member, 1, &more)
    };
    stage.send(&[
        label("a", "web", 10),
        label("b", "db", 30),
        label("c", "web", 20),
        block("d", 1, r#""state":"critical","#),
    ]);
    let mut set_query = |change: fn(&mut Query)| {
        let mut query = Query::default();
        change(&mut query);
        stage.fleet.set_query(query);
        stage.names()
    };
    assert_eq!(set_query(|query| query.sort_by("cpu")), ["b", "c", "a", "d"]);
    let up = |query: &mut Query| {
        query.sort_by("cpu");
        query.sort_by("cpu");
    };
    assert_eq!(set_query(up), ["a", "c", "b", "d"], "what is not known stays last");
    assert_eq!(set_query(|query| query.label = "team=web".to_owned()), ["a", "c"]);
    assert_eq!(set_query(|query| query.set_search("WEB")), ["a", "c"]);
    assert_eq!(set_query(|query| query.toggle(Status::Critical as usize)), ["d"]);
    assert_eq!(set_query(|query| query.set_search("nothing")), [""; 0]);
    assert_eq!(
        set_query(|query| query.group = "team".to_owned()),
        ["[]", "d", "[db]", "b", "[web]", "a", "c"],
        "the worst group first"
    );
    let web = stage.fleet.groups.iter().find(|group| group.name == "web").unwrap();
    assert_eq!(web.counts[Status::Normal as usize], 2);
    // CPU is a mean weighted by the number of processors; the network is a sum.
    assert!((web.values[3] - (10.0 * 10.0 + 20.0 * 20.0) / 30.0).abs() < 1e-9);
    assert!((web.values[6] - 200.0).abs() < 1e-9);
    assert_eq!(stage.fleet.labels, ["team=db", "team=web"]);
    assert_eq!(stage.fleet.keys, ["team"]);
}

#[test]
fn the_order_follows_values_slowly_and_is_fixed_under_the_pointer() {
    let mut stage = Stage::new();
    let mut query = Query::default();
    query.sort_by("cpu");
    stage.fleet.set_query(query);
    let mut second = |sequence: u32, one: u32, other: u32, is_holding: bool| {
        if is_holding {
            stage.fleet.hold_order(stage.now_ms + 1_000.0);
        }
        stage.send(&[
            block("a", sequence, &format!(r#""cpu":{one},"#)),
            block("b", sequence, &format!(r#""cpu":{other},"#)),
        ]);
        stage.names()
    };
    assert_eq!(second(1, 20, 10, false), ["a", "b"]);
    assert_eq!(second(2, 20, 30, false), ["a", "b"], "not at once");
    for sequence in 3..9 {
        assert_eq!(second(sequence, 20, 30, true), ["a", "b"], "held");
    }
    second(9, 20, 30, false);
    second(10, 20, 30, false);
    assert_eq!(second(11, 20, 30, false), ["b", "a"]);
}

#[test]
fn only_changes_of_state_are_announced() {
    let mut stage = Stage::new();
    stage.send(&[block("a", 1, r#""state":"normal","#), block("b", 1, r#""state":"normal","#)]);
    assert_eq!(change_text(&stage.fleet, FORMAT), "");
    let more = r#""name":"web-1","state":"critical","alert":{"subject":"cpu","value":97,"unit":"percent"},"#;
    stage.send(&[block("a", 2, more), block("b", 2, r#""state":"normal","#)]);
    assert_eq!(change_text(&stage.fleet, FORMAT), "web-1 is now critical: CPU is 97.0\u{a0}% busy");
    stage.send(&[block("a", 3, r#""state":"normal","#), block("b", 3, r#""state":"warning","#)]);
    assert_eq!(change_text(&stage.fleet, FORMAT), "2 members changed state");
}

#[test]
fn hostile_lines_are_bounded_and_change_nothing_else() {
    let mut stage = Stage::new();
    let long = "x".repeat(1_000_000);
    let labels: Vec<_> = (0..100).map(|label| format!(r#""k{label}":"{long}""#)).collect();
    stage.send(&[
        String::new(),
        "a".to_owned(),
        "a summary".to_owned(),
        "a summary {".to_owned(),
        "a nothing {}".to_owned(),
        r#"a member {"state":"strange"}"#.to_owned(),
        [&long, " member {}"].concat(),
        format!(
            "b summary {{\"sequence\":1,\"time_unix_ms\":1,\"labels\":{{{}}}}}",
            labels.join(",")
        ),
        block("c", 1, r#""cpu":-1,"ram":1e999,"name":"<img src=x onerror=alert(1)>\u0000","#),
        block("c", 2, r#""cpu":"much","ram":{"x":1},"labels":7,"state":[],"#),
    ]);
    assert_eq!(stage.fleet.members.len(), 2);
    let labels = &stage.fleet.members[0].labels;
    assert!(labels.len() == 16 && labels.iter().all(|(_, value)| value.chars().count() <= 65));
    let member = &stage.fleet.members[1];
    assert!(member.metric(Metric::Cpu).is_nan() && member.metric(Metric::Ram).is_nan());
    let many: Vec<_> = (0..1_200).map(|member| up(&format!("m{member}"))).collect();
    stage.send(&many);
    assert_eq!(stage.fleet.members.len(), 1_100);
}

#[test]
fn csv_quotes_fields_and_omits_stale_values() {
    let mut stage = Stage::new();
    stage.send(&[
        block(
            "a",
            1,
            r#""name":"=1+\"2\"","cpu":12.5,"uptime_seconds":7,"state":"normal","version":"1","#,
        ),
        block("b", 1, r#""cpu":50,"#),
        format!(r#"b member {{"state":"silent","since_unix_ms":{BEGIN_UNIX_MS}}}"#),
    ]);
    let text = csv(&stage.fleet);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("member,labels,alert,time_unix_ms,name,state,since,cpu,"));
    let fields = |line: &str| line.split("\",\"").count();
    assert!(lines[1].starts_with(r#""b","","","1800000001000","b","silent","#), "{}", lines[1]);
    assert!(!lines[1].contains("50"), "{}", lines[1]);
    assert!(lines[2].contains(r#""'=1+""2""","normal","#), "{}", lines[2]);
    assert!(lines[2].ends_with(r#""7","1""#), "{}", lines[2]);
    assert_eq!((fields(lines[1]), fields(lines[2])), (14, 14));
}

#[test]
fn durations_are_in_their_largest_unit() {
    let texts = [0.0, 119_000.0, 120_000.0, 7_200_000.0, 172_800_000.0, 1e300, f64::NAN];
    let texts = texts.map(|span| span_text(span).replace('\u{a0}', " "));
    assert_eq!(texts[..5], ["0 s", "119 s", "2 min", "2 h", "2 d"]);
    assert!(texts[5].ends_with(" d") && texts[6] == "0 s", "{texts:?}");
}

#[test]
fn names_are_sorted_by_their_letters_and_numbers() {
    let sorted = [
        "",
        "1.9.0",
        "1.10.0",
        "10.0.0.7:80",
        "10.0.0.30:80",
        "Web",
        "web-9",
        "WEB-10",
        "web-010",
        "web-10",
        "web-10a",
        "z",
        "\u{e9}",
    ];
    for (index, one) in sorted.iter().enumerate() {
        for (other_index, other) in sorted.iter().enumerate() {
            assert_eq!(compare_names(one, other), index.cmp(&other_index), "{one} and {other}");
        }
    }
}
