//! What the LoRA does: in words, and in numbers below.

use leptos::prelude::*;
use mimeo_protocol::{Recipe, Scores};
use mimeo_workbench::{Run, words};

use super::desk::{Desk, Measured};

#[component]
pub fn ScorePanel(desk: Desk, run: Signal<Run>) -> impl IntoView {
    let scores = Memo::new(move |_| {
        let by_run = run.with(|run| run.scores().cloned());
        match desk.measured.get() {
            Measured::Yes(scores) => Some(*scores),
            _ => by_run,
        }
    });
    view! {
        <section class="scores" aria-label="What it does">
            <h2>"What it does"</h2>
            {move || match scores.get() {
                Some(scores) => {
                    let recipe = run.with(|run| run.job().recipe.clone());
                    view! { <Words scores recipe /> }.into_any()
                }
                None => view! { <Measure desk /> }.into_any(),
            }}
        </section>
    }
}

#[component]
fn Words(scores: Scores, recipe: Recipe) -> impl IntoView {
    let mut sentences = words::score_sentences(&scores, &recipe).into_iter();
    let first = sentences.next();
    let rest = sentences.map(|sentence| view! { <li>{sentence}</li> });
    let rows = match recipe.method.takes_pictures() {
        true => numbers(&scores),
        false => slider_numbers(&scores),
    };
    let rows = rows.into_iter().map(|(name, number, means)| {
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td>{number}</td>
                <td class="soft">{means}</td>
            </tr>
        }
    });
    view! {
        <p class="scores-first">{first}</p>
        <ul>{rest.collect_view()}</ul>
        <details class="fold">
            <summary>"Numbers"</summary>
            <table>
                <caption class="hidden">"Scores and what they mean"</caption>
                <thead>
                    <tr>
                        <th scope="col">"Score"</th>
                        <th scope="col">"Number"</th>
                        <th scope="col">"Means"</th>
                    </tr>
                </thead>
                <tbody>{rows.collect_view()}</tbody>
            </table>
        </details>
    }
}

/// The same of a slider, which has no pair.
fn slider_numbers(scores: &Scores) -> Vec<(&'static str, String, &'static str)> {
    let plain = |number: f64| format!("{number:.2}");
    let (held_out, linearity) = (&scores.held_out, &scores.linearity);
    let ways = linearity.progress.iter().map(|way| plain(*way));
    let mut rows = vec![
        (
            "Progress",
            plain(held_out.progress),
            "How far pictures it never saw go the way that the prompts themselves take them. 1 is as far.",
        ),
        (
            "At each strength",
            ways.collect::<Vec<_>>().join(", "),
            "The same from the lowest strength to the highest.",
        ),
        (
            "Linearity",
            plain(linearity.correlation),
            "How straight the change grows with the strength. 1 is a straight line.",
        ),
        (
            "Kept",
            format!("{:.1}", held_out.elsewhere),
            "How much pictures of the prompts to keep change on average, of 255.",
        ),
    ];
    rows.extend(further_numbers(scores));
    rows
}

/// Those that scores of before do not have.
fn further_numbers(scores: &Scores) -> Vec<(&'static str, String, &'static str)> {
    let linearity = &scores.linearity;
    let rows = [
        (
            "Valid range",
            linearity
                .valid
                .map(|[low, high]| format!("{low} to {high}")),
            "At which strengths it goes on with the change and changes less elsewhere than where you meant it.",
        ),
        (
            "Unevenness",
            linearity.unevenness.map(|uneven| format!("{uneven:.2}")),
            "How much what equal steps of strength change differs. 0 is best.",
        ),
        (
            "Consistency",
            scores
                .held_out
                .consistency
                .map(|alike| format!("{alike:.2}")),
            "How alike pictures of other prompts change where you meant it. 1 is the same on everyone.",
        ),
    ];
    let rows = rows.into_iter();
    rows.filter_map(|(name, number, means)| Some((name, number?, means)))
        .collect()
}

/// Every number with its name and what it means.
fn numbers(scores: &Scores) -> Vec<(&'static str, String, &'static str)> {
    let plain = |number: f64| format!("{number:.2}");
    let (held_out, linearity) = (&scores.held_out, &scores.linearity);
    if scores.is_of_style_alone() {
        return style_numbers(scores);
    }
    let mut rows = vec![
        (
            "Edit gain",
            plain(scores.edit_gain),
            "A is drawn again with the LoRA: how much of the way to B it goes, where you meant it. 1 is all.",
        ),
        (
            "Spill",
            plain(scores.spill),
            "Change outside the mask, relative to the change that was meant. 0 is best.",
        ),
    ];
    if held_out.pictures > 0 {
        rows.extend([
            (
                "Held-out gained",
                format!(
                    "{} of {}",
                    words::percent(held_out.gained),
                    held_out.pictures
                ),
                "Share of pictures of other prompts that gained the change.",
            ),
            (
                "Held-out progress",
                plain(held_out.progress),
                "How far those go from A towards B on average. 1 is as far as the pair.",
            ),
            (
                "Held-out elsewhere",
                format!("{:.1}", held_out.elsewhere),
                "How much they change outside the mask on average, of 255.",
            ),
        ]);
    }
    rows.push((
        "Linearity",
        plain(linearity.correlation),
        "How straight the change grows with the strength. 1 is a straight line.",
    ));
    rows.extend(further_numbers(scores));
    if let Some(fidelity) = scores.copy_fidelity {
        rows.push((
            "Copy fidelity",
            plain(fidelity),
            "How closely the copier copies A. 1 is exact.",
        ));
    }
    if let Some(graded) = &scores.graded {
        rows.push((
            "Grading",
            plain(graded.deviation),
            "How far the change at a level is from being in proportion to it, at most. 0 is best.",
        ));
        if let Some(unseen) = &graded.held_out {
            rows.push((
                "Grading, unseen pictures",
                plain(unseen.deviation),
                "The same of pictures that it was not trained on.",
            ));
        }
    }
    rows.extend(style_numbers(scores));
    rows.push((
        "Calibrated strength",
        plain(scores.calibrated_strength),
        "What was folded into the weights, so that strength 1 makes the change.",
    ));
    rows
}

/// Of a LoRA that was trained upon a style copier; none of others.
fn style_numbers(scores: &Scores) -> Vec<(&'static str, String, &'static str)> {
    let Some(style) = &scores.style else {
        return Vec::new();
    };
    let plain = |number: f64| format!("{number:.2}");
    vec![
        (
            "Style leak",
            plain(style.leak),
            "How much of the copier's style pictures have that do not name what was trained. 0 is best.",
        ),
        (
            "Changed otherwise",
            plain(style.rest),
            "How much else those change, as a share of what the style changes. 0 is best.",
        ),
        (
            "Subject",
            plain(style.progress),
            "How far pictures that name it go from what the copier draws to the pictures it was trained on. 1 is all.",
        ),
    ]
}

#[component]
fn Measure(desk: Desk) -> impl IntoView {
    let is_busy = move || desk.measured.get() == Measured::Asked;
    let refusal = move || match desk.measured.get() {
        Measured::Refused(why) => Some(why),
        _ => None,
    };
    view! {
        <p class="soft">"Nothing was measured yet."</p>
        <button aria-busy=move || is_busy().to_string() on:click=move |_| desk.measure()>
            {move || if is_busy() { "Measuring…" } else { "Measure" }}
        </button>
        <p class="hidden" role="status">{move || is_busy().then_some("Measuring")}</p>
        {move || refusal().map(|why| view! { <p class="refusal" role="alert">{why}</p> })}
    }
}
