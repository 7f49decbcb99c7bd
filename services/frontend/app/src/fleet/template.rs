//! Markup that is written once and changed in places. The rows of a fleet change each second: to
//! compare trees of a thousand elements for that takes longer than to set what differs, and needs
//! code for each element.

use web_sys::{Document, Element};

/// The text of an element, as the name of a spot.
const TEXT: &str = ".";

/// An element whose spots can be set. In its markup, `v="name …"` names the attributes of an element
/// that are spots, `.` its text.
pub(crate) struct Instance {
    pub(crate) root: Element,
    spots: Vec<(Element, String, String)>,
}

impl Instance {
    /// Writes the markup. No value of a member is part of it.
    pub(crate) fn new(document: &Document, tag: &str, markup: &str) -> Option<Self> {
        let holder = document.create_element(tag).ok()?;
        holder.set_inner_html(markup);
        let root = holder.first_element_child()?;
        let mut spots = Vec::new();
        while let Some(element) = holder.query_selector("[v]").ok()? {
            for name in element.get_attribute("v").unwrap_or_default().split(' ') {
                spots.push((element.clone(), name.to_owned(), String::new()));
            }
            let _ = element.remove_attribute("v");
        }
        Some(Self { root, spots })
    }

    /// Sets the spots, in the order of the markup, as far as they differ. An attribute without a
    /// value is left out.
    pub(crate) fn set(&mut self, values: Vec<String>) {
        for ((element, name, known), value) in self.spots.iter_mut().zip(values) {
            if *known == value {
                continue;
            }
            if name == TEXT {
                element.set_text_content(Some(&value));
            } else if value.is_empty() {
                let _ = element.remove_attribute(name);
            } else {
                let _ = element.set_attribute(name, &value);
            }
            *known = value;
        }
    }
}
