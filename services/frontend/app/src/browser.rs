//! Values, formats, storage and user events of the browser.

use js_sys::{Array, Function, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, Event};

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
        if Array::is_array(self) { self.unchecked_ref::<Array>().to_vec() } else { Vec::new() }
    }
}

/// Address of the service (empty for the page's own origin), and whether kiosk mode is on. Kiosk
/// mode shows only the tiles.
pub(crate) fn page_options() -> (String, bool) {
    let page = global();
    (page.text_at("backend"), page.get("isKiosk").is_some_and(|value| value.is_truthy()))
}

/// Formats a time by the parts of a date that `kind` selects, see `timeOf` in `index.html`.
fn formatted(time_unix_ms: f64, kind: &str) -> String {
    let text = time_of(kind, time_unix_ms).and_then(|text| text.as_string()).unwrap_or_default();
    // The name of a month may run from right to left.
    let mut isolated = String::new();
    push_name(&mut isolated, &text);
    isolated
}

fn time_of(kind: &str, time_unix_ms: f64) -> Option<JsValue> {
    // An invalid date has no text.
    function("timeOf").call2(&JsValue::UNDEFINED, &kind.into(), &time_unix_ms.into()).ok()
}

/// Decimal separator of the viewer's language, for Latin digits.
pub(crate) fn decimal_point() -> char {
    text("point", &[]).chars().next().unwrap_or('.')
}

/// Formats hours, minutes and seconds.
pub(crate) fn time_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, "25")
}

/// Formats hours and minutes.
pub(crate) fn minute_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, "24")
}

/// Formats month and day.
pub(crate) fn day_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, "02")
}

/// Formats date, time and zone. The zone distinguishes an hour that occurs twice.
pub(crate) fn full_text(time_unix_ms: f64) -> String {
    formatted(time_unix_ms, "06")
}

/// Time by which local time is behind UTC at a given time.
pub(crate) fn offset_ms(time_unix_ms: f64) -> f64 {
    time_of("", time_unix_ms).and_then(|offset| offset.as_f64()).unwrap_or_default()
}

/// Color of the style sheet, as computed by the browser.
pub(crate) fn color(name: &str) -> String {
    text("color", &[name])
}

/// Stored settings; `None` if there are none or the browser denies access.
pub(crate) fn read_storage() -> Option<String> {
    call("stored", &[]).ok()?.as_string()
}

/// Stores the settings if the browser allows it.
pub(crate) fn write_storage(text: &str) {
    let _ = call("stored", &[text]);
}

/// Calls a global function: of the script in `index.html`, or of the browser.
pub(crate) fn call(name: &str, texts: &[&str]) -> Result<JsValue, JsValue> {
    let texts: Array = texts.iter().map(|text| JsValue::from_str(text)).collect();
    function(name).apply(&JsValue::UNDEFINED, &texts)
}

/// Calls a global function that returns a text; empty if it fails.
fn text(name: &str, texts: &[&str]) -> String {
    call(name, texts).ok().and_then(|text| text.as_string()).unwrap_or_default()
}

fn function(name: &str) -> Function {
    global().get(name).unwrap_or_default().unchecked_into()
}

/// The window, whose fields and those below it need no binding each.
pub(crate) fn global() -> JsValue {
    js_sys::global().into()
}

/// Permission for notifications: `granted`, `denied`, or `default` before the viewer has decided;
/// empty if the browser does not support notifications.
pub(crate) fn permission() -> String {
    global().text_at("Notification.permission")
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
