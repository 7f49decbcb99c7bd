//! Values, formats, storage and user events of the browser.

use js_sys::Intl::DateTimeFormat;
use js_sys::{Array, Date, Function, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Document, Element, Event, Window};

use crate::fields::Fields;
use crate::number::push_name;
use crate::state;

/// Events of the document with which the page opens and closes the table, a separate module.
pub(crate) const OPEN_TABLE: &str = "opentable";
pub(crate) const CLOSE_TABLE: &str = "closetable";

impl Fields for JsValue {
    fn get(&self, name: &str) -> Option<Self> {
        let value = Reflect::get(self, &name.into()).ok()?;
        if value.is_undefined() || value.is_null() { None } else { Some(value) }
    }

    fn number(&self) -> Option<f64> {
        self.as_f64()
    }

    fn text(&self) -> Option<String> {
        self.as_string()
    }

    fn list(&self) -> Vec<Self> {
        if Array::is_array(self) { Array::from(self).to_vec() } else { Vec::new() }
    }
}

/// Address of the service (empty for the page's own origin), and whether kiosk mode is on. Kiosk
/// mode shows only the tiles.
pub(crate) fn page_options(document: &Document) -> (String, bool) {
    let meta = document.query_selector("meta[name=backend-service-url]").ok().flatten();
    let backend = meta.and_then(|meta| meta.get_attribute("content")).unwrap_or_default();
    let page = JsValue::from(document.default_view());
    (backend, page.get("isKiosk").is_some_and(|value| value.is_truthy()))
}

/// Time formats of the viewer's language. Creating one takes longer than a whole tick, so they are
/// cached.
struct Formats {
    minute: Function,
    second: Function,
    day: Function,
    full: Function,
}

thread_local! {
    static FORMATS: Formats = Formats {
        minute: time_format(&["hour", "minute"]),
        second: time_format(&["hour", "minute", "second"]),
        day: time_format(&["month", "day"]),
        full: time_format(&["month", "day", "hour", "minute", "second", "timeZoneName"]),
    };
}

/// Creates a format of the viewer's language with these parts. It has Latin digits, as the numbers
/// beside the times do.
fn time_format(parts: &[&str]) -> Function {
    let options = Object::new();
    let set = |name: &str, value: &str| {
        let _ = Reflect::set(&options, &name.into(), &value.into());
    };
    set("numberingSystem", "latn");
    set("hourCycle", "h23");
    for &part in parts {
        set(
            part,
            match part {
                "month" | "timeZoneName" => "short",
                "day" => "numeric",
                _ => "2-digit",
            },
        );
    }
    DateTimeFormat::new(&Array::new(), &options).format()
}

fn formatted(time_unix_ms: f64, choose: impl Fn(&Formats) -> &Function) -> String {
    // An invalid date becomes an empty text.
    let text = FORMATS.with(|formats| {
        let text = choose(formats).call1(&JsValue::UNDEFINED, &time_unix_ms.into());
        text.ok().and_then(|text| text.as_string()).unwrap_or_default()
    });
    // The name of a month may run from right to left.
    let mut isolated = String::new();
    push_name(&mut isolated, &text);
    isolated
}

/// Decimal separator of the viewer's language, for Latin digits.
pub(crate) fn decimal_point(window: &Window) -> char {
    let text = call(window, "point", &[]).ok().and_then(|text| text.as_string());
    text.and_then(|text| text.chars().next()).unwrap_or('.')
}

/// Formats hours, minutes and seconds.
pub(crate) fn time_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, |formats| &formats.second)
}

/// Formats hours and minutes.
pub(crate) fn minute_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, |formats| &formats.minute)
}

/// Formats month and day.
pub(crate) fn day_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, |formats| &formats.day)
}

/// Formats date, time and zone. The zone distinguishes an hour that occurs twice.
pub(crate) fn full_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, |formats| &formats.full)
}

/// Time by which local time is behind UTC at a given time.
pub(crate) fn offset_ms(time_unix_ms: f64) -> f64 {
    Date::new(&time_unix_ms.into()).get_timezone_offset() * 60_000.0
}

/// Color of the style sheet, as computed by the browser.
pub(crate) fn color(window: &Window, name: &str) -> String {
    let root = window.document().and_then(|document| document.document_element());
    let style = root.and_then(|root| window.get_computed_style(&root).ok().flatten());
    let value = style.and_then(|style| style.get_property_value(name).ok());
    value.unwrap_or_default().trim().to_owned()
}

/// Stored settings; `None` if there are none or the browser denies access.
pub(crate) fn read_storage(window: &Window) -> Option<String> {
    call(window, "stored", &[]).ok()?.as_string()
}

/// Stores the settings if the browser allows it.
pub(crate) fn write_storage(window: &Window, text: &str) {
    let _ = call(window, "stored", &[text]);
}

/// Calls a function of the script in `index.html`.
pub(crate) fn call(window: &Window, name: &str, texts: &[&str]) -> Result<JsValue, JsValue> {
    let function = JsValue::from(window).get(name).unwrap_or_default();
    let texts: Array = texts.iter().map(|text| JsValue::from_str(text)).collect();
    function.unchecked_into::<Function>().apply(&JsValue::UNDEFINED, &texts)
}

/// Permission for notifications: `granted`, `denied`, or `default` before the viewer has decided;
/// empty if the browser does not support notifications.
pub(crate) fn permission() -> String {
    let window = web_sys::window().map_or(JsValue::UNDEFINED, JsValue::from);
    window.text_at("Notification.permission")
}

/// Action of the button that was pressed.
pub(crate) fn action(event: &Event) -> Option<String> {
    closest(event, "button")?.get_attribute("data-action")
}

/// Converts a user event to a state event; `None` if there is none.
pub(crate) fn to_event(event: &Event, kind: &str) -> Option<state::Event> {
    let plot = || closest(event, ".plot");
    let fields: &JsValue = event.as_ref();
    let share = |plot: &Element| {
        let x = fields.number_at("clientX")?;
        let edges: JsValue = plot.get_bounding_client_rect().into();
        Some((x - edges.number_at("left")?) / edges.number_at("width")?)
    };
    let is_mouse = || fields.text_at("pointerType") == "mouse";
    let input = |name: &str| {
        let number = closest(event, &["[", name, "]"].concat())?.get_attribute(name)?;
        Some((number.parse().ok()?, JsValue::from(event.target()?).text_at("value")))
    };
    Some(match kind {
        "pointermove" => state::Event::PointerMove(plot().as_ref().and_then(share)),
        "pointerdown" => {
            // Touches scroll and point; only a mouse drags.
            if !is_mouse() {
                return Some(state::Event::PointerMove(plot().as_ref().and_then(share)));
            }
            let plot = plot()?;
            let share = share(&plot)?;
            // Only the primary button drags. With Ctrl, the click opens the context menu on macOS.
            if fields.number_at("button") != Some(0.0) || fields.get("ctrlKey")?.is_truthy() {
                return None;
            }
            let _ = plot.set_pointer_capture(to_i32(fields.number_at("pointerId")?));
            event.prevent_default();
            state::Event::DragStart(share)
        }
        "pointerup" => state::Event::DragEnd,
        "pointercancel" | "blur" => state::Event::DragCancel,
        // The mouse left the page. After a touch, the crosshair stays.
        "pointerout" if is_mouse() && fields.get("relatedTarget").is_none() => {
            state::Event::DragCancel
        }
        "focusin" => state::Event::InTable(is_in_table(event)),
        "keydown" => {
            plot()?;
            let is_pressed = |key: &str| fields.get(key).is_some_and(|value| value.is_truthy());
            // Shortcuts of the browser keep their meaning.
            if ["altKey", "ctrlKey", "metaKey"].into_iter().any(is_pressed) {
                return None;
            }
            let key = fields.text_at("key");
            let moves = key.starts_with("Arrow") || key == "Home" || key == "End";
            if moves && is_pressed("shiftKey") {
                return None;
            }
            // The up and down keys scroll the page.
            if moves && key != "ArrowUp" && key != "ArrowDown" {
                event.prevent_default();
            }
            state::Event::Key(key)
        }
        "change" => {
            let (index, number) = input("data-threshold")?;
            state::Event::Threshold(index, number)
        }
        "input" => {
            let (table, text) = input("data-search")?;
            state::Event::Search(table, text)
        }
        _ => return None,
    })
}

/// Whether the target of the event is in a list.
pub(crate) fn is_in_table(event: &Event) -> bool {
    closest(event, ".things").is_some()
}

/// Closest element to the event's target that matches the selector.
pub(crate) fn closest(event: &Event, selector: &str) -> Option<Element> {
    let target: JsValue = event.target()?.into();
    // The target can be the document, which has no `closest`.
    target.get("closest")?;
    let target: Element = target.unchecked_into();
    target.closest(selector).ok()?
}

#[expect(clippy::cast_possible_truncation, reason = "it saturates")]
fn to_i32(number: f64) -> i32 {
    number as i32
}
