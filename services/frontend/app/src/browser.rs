//! What the browser lends: its JSON values, its clock's formats, its storage.

use js_sys::{Array, Date, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, Event, Storage, Window};

use crate::decode::Fields;
use crate::state;

/// Under which name the viewer's settings are stored.
const STORED: &str = "system-stats";

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

/// What stands before the decimals where the viewer lives.
pub(crate) fn decimal_point() -> char {
    let text: String = js_sys::Number::from(1.5).to_locale_string("default").into();
    text.chars().nth(1).unwrap_or('.')
}

/// A time of day as the viewer writes it.
pub(crate) fn time_text(time_unix_ms: f64) -> String {
    Date::new(&time_unix_ms.into()).to_locale_time_string("default").into()
}

/// The settings that were stored, if there are any and the browser lets them be read.
pub(crate) fn stored(window: &Window) -> Option<String> {
    storage(window)?.get_item(STORED).ok()?
}

/// Stores the settings, where the browser lets it.
pub(crate) fn store(window: &Window, text: &str) {
    if let Some(storage) = storage(window) {
        let _ = storage.set_item(STORED, text);
    }
}

fn storage(window: &Window) -> Option<Storage> {
    window.local_storage().ok()?
}

/// The action of the button that was pressed.
pub(crate) fn action(event: &Event) -> Option<String> {
    near(event, "button")?.get_attribute("data-action")
}

/// The state event of a user event; `None` where it has none.
pub(crate) fn to_event(event: &Event, kind: &str) -> Option<state::Event> {
    let plot = || near(event, ".plot");
    let fields: &JsValue = event.as_ref();
    let share = |plot: &Element| {
        let x = fields.number_at("clientX")?;
        let edges: JsValue = plot.get_bounding_client_rect().into();
        Some((x - edges.number_at("left")?) / edges.number_at("width")?)
    };
    Some(match kind {
        "pointermove" => state::Event::Point(plot().as_ref().and_then(share)),
        "pointerdown" => {
            // A finger scrolls and points; only a mouse has a hand free to drag.
            if fields.text_at("pointerType") != "mouse" {
                return Some(state::Event::Point(plot().as_ref().and_then(share)));
            }
            let share = share(&plot()?)?;
            event.prevent_default();
            state::Event::Grab(share)
        }
        "pointerup" => state::Event::Drop,
        "keydown" => {
            plot()?;
            let key = fields.text_at("key");
            if key.starts_with("Arrow") || key == "Home" || key == "End" {
                event.prevent_default();
            }
            state::Event::Key(key)
        }
        "change" => {
            let place = near(event, "[data-threshold]")?.get_attribute("data-threshold")?;
            let number = JsValue::from(event.target()?).text_at("value");
            state::Event::Threshold(place.parse().ok()?, number)
        }
        _ => return None,
    })
}

/// The element that the event is in.
fn near(event: &Event, selector: &str) -> Option<Element> {
    let target: JsValue = event.target()?.into();
    // The document is a target too, and in no element.
    target.get("closest")?;
    let target: Element = target.unchecked_into();
    target.closest(selector).ok()?
}
