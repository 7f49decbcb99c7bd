//! Markup that is written once and then updated in place. The rows of a fleet change every second:
//! comparing trees of a thousand elements takes longer than setting the differences, and needs code
//! for each element.

use web_sys::{Document, Element};

/// Name of the binding for an element's text.
const TEXT: &str = ".";

/// Element with bindings that can be set. In its markup, `v="name …"` lists the bindings of an
/// element: names of attributes, and `.` for its text.
pub(crate) struct Instance {
    pub(crate) root: Element,
    bindings: Vec<(Element, String, String)>,
}

impl Instance {
    /// Writes the markup. It never contains a value of a member.
    pub(crate) fn new(document: &Document, tag: &str, markup: &str) -> Option<Self> {
        let holder = document.create_element(tag).ok()?;
        holder.set_inner_html(markup);
        let root = holder.first_element_child()?;
        let mut bindings = Vec::new();
        while let Some(element) = holder.query_selector("[v]").ok()? {
            for name in element.get_attribute("v").unwrap_or_default().split(' ') {
                bindings.push((element.clone(), name.to_owned(), String::new()));
            }
            let _ = element.remove_attribute("v");
        }
        Some(Self { root, bindings })
    }

    /// Sets the bindings that differ, in the order of the markup. An attribute with an empty value
    /// is removed.
    pub(crate) fn set(&mut self, values: Vec<String>) {
        for ((element, name, known), value) in self.bindings.iter_mut().zip(values) {
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
