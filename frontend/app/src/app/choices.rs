//! Small choices that a reload keeps: tool and brush, stars, whether single keys do something.

use std::collections::BTreeSet;

use leptos::prelude::*;
use mimeo_workbench::Tool;

use crate::bench::Bench;
use crate::page::Page;
use crate::storage;

const BRUSH: &str = "mimeo.brush";
const STARS: &str = "mimeo.stars";
const SINGLE_KEYS: &str = "mimeo.single_keys";
/// Stars that are kept; the oldest names go first.
const MAX_STARS: usize = 500;

/// Puts the choices back, and keeps them from then on.
pub fn restore_and_keep(bench: Bench, page: Page) {
    if let Some((tool, diameter, softness)) =
        storage::choice(BRUSH).as_deref().and_then(parse_brush)
    {
        bench.toolbox.update(|tools| {
            // Nothing is half done yet that could be taken back.
            _ = tools.choose(tool);
            tools.set_diameter(diameter);
            tools.set_softness(softness);
        });
    }
    if let Some(kept) = storage::choice(SINGLE_KEYS) {
        page.single_keys.set(kept == "true");
    }
    if let Some(kept) = storage::choice(STARS) {
        let stars: BTreeSet<String> = kept.split_whitespace().map(str::to_owned).collect();
        page.starred.set(stars);
    }
    Effect::new(move |_| {
        let (tool, brush) = bench.toolbox.with(|tools| (tools.tool(), tools.brush()));
        let kept = format!("{} {} {}", tool.label(), brush.diameter, brush.softness);
        storage::keep_choice(BRUSH, &kept);
    });
    Effect::new(move |_| {
        storage::keep_choice(SINGLE_KEYS, &page.single_keys.get().to_string());
    });
    Effect::new(move |_| {
        let stars = page.starred.get();
        let stars: Vec<_> = stars.into_iter().take(MAX_STARS).collect();
        storage::keep_choice(STARS, &stars.join(" "));
    });
}

/// "Brush 24 0.3"; none for anything else.
fn parse_brush(kept: &str) -> Option<(Tool, f32, f32)> {
    let mut words = kept.split(' ');
    let label = words.next()?;
    let tool = Tool::ALL.into_iter().find(|tool| tool.label() == label)?;
    Some((
        tool,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    ))
}
