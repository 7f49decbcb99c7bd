//! Navigation from the page of one service to the table of all members.

use super::markup::Page;
use crate::number::plain;
use crate::router::{Route, Router};

/// Renders the link to the table: on a member's page, or when the gateway lists several members.
pub(super) fn fleet_link(page: &mut Page, router: &Router, is_kiosk: bool) {
    let route = router.route();
    let member = match &*route {
        Route::Member(path) => path.strip_prefix("/fleet/"),
        _ => None,
    };
    let members = router.member_count();
    let begin = page.begin();
    if member.is_some() || members > 1 {
        page.add(if is_kiosk { "/?kiosk=1" } else { "/" });
        page.put(if member.is_some() {
            "\u{2190} All members".to_owned()
        } else {
            ["Fleet of ", &plain(members as f64), " members"].concat()
        });
        page.fill(r#"<a class="way" href=? data-place="">{}</a>"#);
    }
    if let Some(address) = member {
        page.put(router.title_of(address));
        page.fill(r#"<p class="way"><b>{}</b></p>"#);
    }
    page.list(begin);
}
