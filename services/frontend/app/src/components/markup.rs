//! Elements in few bytes: `html!` writes out three hundred bytes of code for each element, a call
//! is a fifth of that, and every viewer loads them all.

use yew::virtual_dom::{AttributeOrProperty, Attributes, VList, VTag, VText};
use yew::{AttrValue, Html};

/// An element with attributes and children: `tag!(p "class" = "words"; text("so"))`. An attribute
/// that is `None` is left out; a child is [`Html`].
macro_rules! tag {
    ($name:ident $($key:literal = $value:expr),* $(; $($child:expr),+ $(,)?)?) => {
        $crate::components::markup::element(
            stringify!($name),
            &[$($key),*],
            vec![$($crate::components::markup::Value::from($value).0),*],
            vec![$($($child),+)?],
        )
    };
}
pub(super) use tag;

/// The value of an attribute.
pub(super) struct Value(pub(super) Option<AttrValue>);

/// The element; `tag!` is how it is written.
pub(super) fn element(
    name: &'static str,
    keys: &'static [&'static str],
    values: Vec<Option<AttrValue>>,
    children: Vec<Html>,
) -> Html {
    let values = values.into_iter().map(|value| value.map(AttributeOrProperty::Attribute));
    let mut element = VTag::new(name);
    element.set_attributes(Attributes::Dynamic { keys, values: values.collect() });
    element.add_children(children);
    element.into()
}

/// Static text.
pub(super) fn literal(text: &'static str) -> Html {
    VText::new(AttrValue::Static(text)).into()
}

/// Text.
pub(super) fn text(text: String) -> Html {
    VText::new(AttrValue::from(text)).into()
}

/// Several in place of one.
pub(super) fn all(children: Vec<Html>) -> Html {
    VList::with_children(children, None).into()
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self(Some(AttrValue::Static(text)))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(Some(AttrValue::from(text)))
    }
}

impl From<Option<&'static str>> for Value {
    fn from(text: Option<&'static str>) -> Self {
        Self(text.map(AttrValue::Static))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self(text.map(AttrValue::from))
    }
}
