//! Navigation from the page of one service to the table of all members.

use super::AppProps;
use super::markup::Page;
use crate::number::plain;
use crate::places::{Place, Places};

/// Renders the link to the table: on a member's page, or when the gateway lists several members.
pub(super) fn way_to_table(page: &mut Page, places: &Places, props: &AppProps) {
    let place = places.place();
    let member = match &*place {
        Place::Member(path) => path.strip_prefix("/fleet/"),
        _ => None,
    };
    let members = places.listed();
    let begin = page.begin();
    if member.is_some() || members > 1 {
        page.add(if props.kiosk { "/?kiosk=1" } else { "/" });
        page.put(if member.is_some() {
            "\u{2190} All members".to_owned()
        } else {
            ["Fleet of ", &plain(members as f64), " members"].concat()
        });
        page.fill(r#"<a class="way" href=? data-place="">{}</a>"#);
    }
    if let Some(address) = member {
        page.put(places.title_of(address));
        page.fill(r#"<p class="way"><b>{}</b></p>"#);
    }
    page.list(begin);
}
