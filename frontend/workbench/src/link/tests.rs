use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::*;
use crate::backend::Adapter;

const COMPANION: Option<Backend> = Some(Backend::Companion);
const BROWSER_GPU: Option<Backend> = Some(Backend::BrowserGpu);
const BROWSER_CPU: Option<Backend> = Some(Backend::BrowserCpu);

/// A page without sockets, workers and a clock: it keeps what is under way, and checks after every
/// event what must always be true.
struct Page {
    supervisor: Supervisor,
    /// Where the line leads that is being opened or stands.
    line: Option<Backend>,
    waits: bool,
    asks_for_gpu: bool,
    forgets: bool,
    /// What the last event led to.
    effects: Vec<Effect>,
}

impl Page {
    fn new(wish: Wish, companion: Companion, trainer: TrainerBuild) -> Self {
        Self {
            supervisor: Supervisor::new(wish, companion, trainer),
            line: None,
            waits: false,
            asks_for_gpu: false,
            forgets: false,
            effects: Vec::new(),
        }
    }

    fn open(wish: Wish, companion: Companion, trainer: TrainerBuild) -> Self {
        let mut page = Self::new(wish, companion, trainer);
        page.hear(Event::Opened);
        page
    }

    /// Served by a companion, as far as can be told.
    fn served(wish: Wish) -> Self {
        Self::open(wish, Companion::Unknown, TrainerBuild::Included)
    }

    /// From a static host, with this GPU.
    fn hosted(gpu: WebGpu) -> Self {
        let mut page = Self::open(
            Wish::Automatic,
            Companion::Unreachable,
            TrainerBuild::Included,
        );
        page.hear(Event::Gpu(gpu));
        page
    }

    /// The line to a companion with a GPU stands, and nothing else is looked for.
    fn settled_there() -> Self {
        let mut page = Self::served(Wish::Automatic);
        page.hear(welcomed(true));
        page
    }

    /// The line to this browser's GPU stands.
    fn settled_here() -> Self {
        let mut page = Self::hosted(real());
        page.hear(Event::Loaded);
        page.hear(welcomed(true));
        page
    }

    fn hear(&mut self, event: Event) -> &mut Self {
        match &event {
            Event::Second => self.waits = false,
            Event::Gpu(_) => self.asks_for_gpu = false,
            Event::Forgotten => self.forgets = false,
            _ => {}
        }
        let told = format!("{event:?}");
        self.effects = self.supervisor.on(event);
        for effect in self.effects.clone() {
            match effect {
                Effect::Connect(place) => {
                    assert_eq!(self.line.replace(place), None, "two lines after {told}");
                }
                Effect::HangUp => self.line = None,
                Effect::Wait => self.waits = true,
                Effect::AskForGpu => {
                    assert!(!self.asks_for_gpu, "asked twice after {told}");
                    self.asks_for_gpu = true;
                }
                Effect::Forget => {
                    assert_eq!(self.line, None, "it hears of what it forgets after {told}");
                    self.forgets = true;
                }
                Effect::TakeOver => {
                    assert!(
                        self.line.is_some_and(Backend::is_browser),
                        "a worker, {told}"
                    );
                }
                Effect::Keep(_) => {}
            }
        }
        self.check(&told);
        self
    }

    fn check(&self, told: &str) {
        let supervisor = &self.supervisor;
        let (stage, status) = (supervisor.stage, &supervisor.status);
        let case = format!("{stage:?}, {status:?} after {told}");
        let goes_on = match stage {
            Stage::Choosing => self.asks_for_gpu,
            Stage::Forgetting => self.forgets && supervisor.place.is_none(),
            Stage::Opening | Stage::Talking => self.line == supervisor.place && self.line.is_some(),
            Stage::Pausing { .. } => self.waits,
            Stage::Resting => self.line.is_none(),
        };
        assert!(goes_on, "nothing is under way that leads on: {case}");
        let is_talking = stage == Stage::Talking;
        assert_eq!(is_talking, *status == Status::Connected, "{case}");
        assert!(
            !is_talking || supervisor.is_settled || self.asks_for_gpu,
            "it stands, and nothing settles it: {case}"
        );
        match status {
            Status::Lost { .. } => assert!(!supervisor.is_browser(), "{case}"),
            Status::Elsewhere | Status::Taken(_) | Status::Broken { .. } => {
                assert!(supervisor.is_browser(), "{case}");
            }
            _ => {}
        }
    }

    fn status(&self) -> &Status {
        self.supervisor.status()
    }

    fn place(&self) -> Option<Backend> {
        self.supervisor.place()
    }

    /// Seconds pass until something else is done than to wait; how many.
    fn wait(&mut self) -> u32 {
        let mut secs = 0;
        while self.waits {
            self.hear(Event::Second);
            secs += 1;
        }
        secs
    }

    fn lose(&mut self) -> &mut Self {
        self.hear(Event::Ended(End::Lost))
    }

    fn crash(&mut self) -> &mut Self {
        self.hear(Event::Ended(End::Broken("The GPU is lost.".to_owned())))
    }

    fn taken(&mut self) -> &mut Self {
        self.hear(Event::Ended(End::Taken("It trains there.".to_owned())))
    }
}

fn real() -> WebGpu {
    WebGpu::Real(Adapter::default())
}

const fn welcomed(is_gpu: bool) -> Event {
    Event::Welcomed {
        is_gpu,
        is_busy: false,
    }
}

const fn there(is_gpu: bool, is_busy: bool) -> Companion {
    Companion::There { is_gpu, is_busy }
}

// The first choice.

#[test]
fn a_page_that_a_companion_may_serve_looks_for_it_first() {
    let page = Page::served(Wish::Automatic);
    assert_eq!(
        page.effects,
        [Effect::Connect(Backend::Companion)],
        "at once"
    );
    assert_eq!(page.place(), COMPANION, "and says so");
    assert_eq!(
        page.supervisor.reason(),
        "Looking for the companion.",
        "why"
    );
    assert_eq!(*page.status(), Status::Connecting, "for the first time");
}

#[test]
fn a_companion_with_a_gpu_is_stayed_with_and_the_browser_not_asked_for_its_own() {
    let page = Page::settled_there();
    assert_eq!(page.effects, [], "nothing else is looked for");
    assert_eq!(*page.status(), Status::Connected, "it stands");
    assert!(page.supervisor.is_settled, "for this page");
    assert_eq!(
        page.supervisor.facts().companion,
        there(true, false),
        "known"
    );
}

#[test]
fn a_companion_without_a_gpu_is_left_for_a_browser_that_has_one() {
    let mut page = Page::served(Wish::Automatic);
    page.hear(welcomed(false));
    assert_eq!(page.effects, [Effect::AskForGpu], "that decides");
    assert_eq!(
        *page.status(),
        Status::Connected,
        "meanwhile it can be used"
    );
    page.hear(Event::Gpu(real()));
    assert_eq!(page.effects, [Effect::HangUp, Effect::Forget], "it turns");
    assert_eq!(
        page.place(),
        None,
        "nothing of the companion is asked for now"
    );
    page.hear(Event::Forgotten);
    assert_eq!(page.effects, [Effect::Connect(Backend::BrowserGpu)], "then");
    assert!(
        page.supervisor.reason().contains("only a CPU"),
        "and says why"
    );
    page.hear(Event::Loaded).hear(welcomed(true));
    assert!(page.supervisor.is_settled, "there it stays");
}

#[test]
fn a_companion_without_a_gpu_is_kept_where_the_browser_has_none_either() {
    let mut page = Page::served(Wish::Automatic);
    page.hear(welcomed(false)).hear(Event::Gpu(WebGpu::Missing));
    assert_eq!(page.effects, [], "it stays");
    assert_eq!(page.place(), COMPANION, "where it is");
    assert!(page.supervisor.is_settled, "for this page");
    assert!(
        page.supervisor.reason().contains("CPU is faster"),
        "and says why"
    );
}

#[test]
fn a_run_that_begins_while_the_browser_is_asked_for_its_gpu_is_not_left() {
    let mut page = Page::served(Wish::Automatic);
    page.hear(welcomed(false)).hear(Event::Busy(true));
    page.hear(Event::Gpu(real()));
    assert_eq!(page.place(), COMPANION, "its run is on the page");
    assert!(page.supervisor.reason().contains("runs under way"), "said");
    page.hear(Event::Busy(false));
    assert_eq!(page.effects, [], "nor is it left when the run ends");
}

#[test]
fn a_run_that_ends_meanwhile_keeps_nobody() {
    let mut page = Page::served(Wish::Automatic);
    page.hear(Event::Welcomed {
        is_gpu: false,
        is_busy: true,
    });
    page.hear(Event::Busy(false)).hear(Event::Gpu(real()));
    page.hear(Event::Forgotten);
    assert_eq!(page.place(), BROWSER_GPU, "it is faster");
}

#[test]
fn without_a_companion_the_browser_trains_and_nobody_waits_for_that() {
    let mut page = Page::served(Wish::Automatic);
    page.lose();
    assert_eq!(
        page.effects,
        [Effect::HangUp, Effect::AskForGpu],
        "no pause"
    );
    assert_eq!(page.supervisor.facts().companion, Companion::Away, "known");
    page.hear(Event::Gpu(WebGpu::NoAdapter));
    page.hear(Event::Forgotten)
        .hear(Event::Loaded)
        .hear(welcomed(false));
    assert_eq!(page.place(), BROWSER_CPU, "what there is");
    assert_eq!(*page.status(), Status::Connected, "it stands");
}

#[test]
fn a_page_from_a_static_host_asks_for_no_companion() {
    let mut page = Page::new(
        Wish::Automatic,
        Companion::Unreachable,
        TrainerBuild::Included,
    );
    page.hear(Event::Opened);
    assert_eq!(page.effects, [Effect::AskForGpu], "which decides");
    page.hear(Event::Gpu(WebGpu::Missing));
    assert_eq!(
        page.effects,
        [Effect::Connect(Backend::BrowserCpu)],
        "at once"
    );
    page.hear(Event::Loaded).hear(welcomed(false));
    assert!(page.supervisor.is_settled, "there it stays");
}

#[test]
fn what_was_wished_for_when_the_page_was_closed_is_gone_to_at_once() {
    for (wish, place) in [
        (Wish::Companion, Backend::Companion),
        (Wish::BrowserCpu, Backend::BrowserCpu),
    ] {
        let page = Page::served(wish);
        assert_eq!(page.effects, [Effect::Connect(place)], "{wish:?}");
    }
    let mut page = Page::served(Wish::BrowserGpu);
    assert_eq!(page.effects, [Effect::AskForGpu], "whether it can be had");
    page.hear(Event::Gpu(real()));
    assert_eq!(page.place(), BROWSER_GPU, "it can");
}

#[test]
fn a_wish_for_a_gpu_that_is_not_there_is_answered_with_the_cpu() {
    let mut page = Page::served(Wish::BrowserGpu);
    page.hear(Event::Gpu(WebGpu::Missing));
    assert_eq!(page.place(), BROWSER_CPU, "until it is");
    assert!(
        page.supervisor.reason().contains("You chose WebGPU, but"),
        "said"
    );
}

// A page without a trainer.

#[test]
fn without_its_trainer_the_page_waits_for_the_companion_and_finds_it_late() {
    let mut page = Page::open(Wish::Automatic, Companion::Unknown, TrainerBuild::LeftOut);
    for pause in [1, 2, 4, 8, 8] {
        page.lose();
        assert_eq!(*page.status(), Status::Lost { retry_secs: pause }, "told");
        assert_eq!(page.wait(), pause, "longer each time");
        assert_eq!(page.effects, [Effect::Connect(Backend::Companion)], "again");
    }
    assert!(
        page.supervisor.reason().contains("No companion is there"),
        "said"
    );
    page.hear(welcomed(false));
    assert_eq!(*page.status(), Status::Connected, "found");
    assert!(page.supervisor.is_settled, "there is nothing else");
    assert!(
        page.supervisor.reason().contains("The companion is there"),
        "said"
    );
}

#[test]
fn a_page_with_neither_companion_nor_trainer_says_so_and_asks_for_nothing() {
    let mut page = Page::open(
        Wish::Automatic,
        Companion::Unreachable,
        TrainerBuild::LeftOut,
    );
    for _ in 0..6 {
        let Status::Refused(why) = page.status() else {
            panic!("it says why nothing trains: {:?}", page.status());
        };
        assert!(why.contains("--browser"), "and what to do: {why}");
        assert_eq!(page.effects, [Effect::Wait], "no host is asked");
        page.hear(Event::Seen);
    }
    for wish in Wish::ALL {
        page.hear(Event::Chosen(wish));
        assert_eq!(page.line, None, "{wish:?}: nor for a wish");
        assert!(matches!(page.status(), Status::Refused(_)), "{wish:?}");
    }
}

#[test]
fn without_its_trainer_the_page_stays_with_the_companion_whatever_is_wished() {
    let mut page = Page::open(Wish::Automatic, Companion::Unknown, TrainerBuild::LeftOut);
    page.hear(welcomed(false));
    for wish in Wish::ALL {
        page.hear(Event::Chosen(wish));
        assert_eq!(
            page.effects,
            [Effect::Keep(wish)],
            "{wish:?}: the line stands"
        );
        assert_eq!(page.place(), COMPANION, "{wish:?}");
    }
}

// A companion that is lost.

#[test]
fn a_companion_that_is_lost_is_tried_again_soon_and_then_less_often() {
    let mut page = Page::settled_there();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        page.lose();
        pauses.push(page.wait());
        assert_eq!(page.line, COMPANION, "by itself");
    }
    assert_eq!(pauses, [1, 1, 2, 4, 8, 8, 8], "s");
    page.hear(welcomed(true));
    page.lose();
    assert_eq!(page.wait(), 1, "from the beginning once it was back");
}

#[test]
fn a_pause_counts_down() {
    let mut page = Page::settled_there();
    page.lose().wait();
    page.lose().wait();
    page.lose();
    let mut told = Vec::new();
    while let Status::Lost { retry_secs } = *page.status()
        && page.waits
    {
        told.push(retry_secs);
        page.hear(Event::Second);
    }
    assert_eq!(told, [2, 1], "s until the next try");
    assert_eq!(*page.status(), Status::Lost { retry_secs: 1 }, "no flicker");
}

#[test]
fn a_companion_that_trains_is_waited_for_however_good_the_browser_is() {
    let mut page = Page::settled_there();
    page.hear(Event::GpuWanted).hear(Event::Gpu(real()));
    for _ in 0..5 {
        page.lose().wait();
        assert_eq!(
            page.place(),
            COMPANION,
            "a choice does not change under a run"
        );
    }
    page.hear(welcomed(true));
    assert_eq!(*page.status(), Status::Connected, "and it is back");
}

#[test]
fn a_companion_that_is_lost_before_it_was_decided_upon_is_done_without() {
    let mut page = Page::served(Wish::Automatic);
    page.hear(welcomed(false)).lose();
    page.hear(Event::Gpu(WebGpu::Missing));
    assert_eq!(page.effects, [], "the pause goes on");
    assert_eq!(page.wait(), 1, "it was there a moment ago");
    assert_eq!(page.line, COMPANION, "so it is tried once more");
    page.lose().hear(Event::Forgotten);
    assert_eq!(page.place(), BROWSER_CPU, "and no more");
}

#[test]
fn a_page_that_is_seen_again_or_a_click_ends_the_pause() {
    for event in [Event::Seen, Event::Retried] {
        let mut page = Page::settled_there();
        page.lose().hear(event.clone());
        assert_eq!(
            page.effects,
            [Effect::Connect(Backend::Companion)],
            "{event:?}"
        );
        page.hear(event.clone());
        assert_eq!(page.effects, [], "{event:?}: a try is under way");
        page.hear(Event::Second);
        assert_eq!(page.effects, [], "{event:?}: the old pause is over");
    }
}

#[test]
fn the_second_of_an_old_pause_does_not_shorten_a_new_one() {
    let mut page = Page::settled_there();
    page.lose().wait();
    page.lose().wait();
    page.lose().hear(Event::Retried);
    page.hear(Event::Second).lose();
    assert_eq!(page.wait(), 4, "the whole pause");
}

#[test]
fn what_is_known_of_a_companion_that_is_back_is_new() {
    let mut page = Page::settled_there();
    page.lose().wait();
    page.hear(welcomed(false));
    assert_eq!(
        page.supervisor.facts().companion,
        there(false, false),
        "its GPU"
    );
    assert_eq!(page.effects, [], "it is stayed with");
}

// A companion that does not want this page.

#[test]
fn another_version_is_said_and_tried_again() {
    let mut page = Page::served(Wish::Automatic);
    let refused = || Event::Ended(End::Refused("Another version.".to_owned()));
    for pause in [1, 2, 4] {
        page.hear(refused());
        let said = Status::Refused("Another version.".to_owned());
        assert_eq!(*page.status(), said, "not that it is gone");
        assert_eq!(page.wait(), pause, "longer each time");
        assert_eq!(*page.status(), said, "until it is another");
    }
    page.hear(refused()).hear(Event::Seen);
    assert_eq!(
        page.line, COMPANION,
        "or at once, when the page is looked at"
    );
    page.hear(welcomed(true));
    assert_eq!(*page.status(), Status::Connected, "it was updated");
}

#[test]
fn a_token_of_an_earlier_start_is_fetched_anew() {
    let mut page = Page::settled_there();
    page.lose().wait();
    page.hear(Event::Ended(End::Token("Another start.".to_owned())));
    assert_eq!(
        *page.status(),
        Status::Lost { retry_secs: 1 },
        "no word of it"
    );
    page.wait();
    page.hear(welcomed(true));
    assert_eq!(*page.status(), Status::Connected, "the new one is right");
}

#[test]
fn a_token_that_stays_wrong_is_said() {
    let mut page = Page::served(Wish::Companion);
    let wrong = || Event::Ended(End::Token("Not its link.".to_owned()));
    page.hear(wrong()).wait();
    for _ in 0..3 {
        page.hear(wrong());
        let said = Status::Refused("Not its link.".to_owned());
        assert_eq!(*page.status(), said, "it does answer");
        page.wait();
        assert_eq!(page.line, COMPANION, "and is tried again");
    }
    page.lose();
    assert!(
        matches!(page.status(), Status::Lost { .. }),
        "now it is gone"
    );
    page.wait();
    page.hear(wrong());
    assert!(matches!(page.status(), Status::Lost { .. }), "started anew");
}

#[test]
fn a_worker_of_another_version_waits_for_a_reload() {
    let mut page = Page::hosted(real());
    page.hear(Event::Ended(End::Refused("Reload.".to_owned())));
    assert_eq!(
        *page.status(),
        Status::Refused("Reload.".to_owned()),
        "said"
    );
    page.hear(Event::Seen);
    assert_eq!(page.effects, [], "a glance brings no other program");
    page.hear(Event::Chosen(Wish::BrowserCpu))
        .hear(Event::Forgotten);
    assert_eq!(page.line, BROWSER_CPU, "the user may go elsewhere");
}

// The user wants another place.

#[test]
fn a_switch_while_a_run_goes_on_lets_go_of_the_old_place_first() {
    let mut page = Page::settled_there();
    page.hear(Event::Busy(true));
    page.hear(Event::Chosen(Wish::BrowserCpu));
    let expected = [
        Effect::Keep(Wish::BrowserCpu),
        Effect::HangUp,
        Effect::Forget,
    ];
    assert_eq!(page.effects, expected, "in this order");
    assert_eq!(
        (page.place(), page.status()),
        (None, &Status::Connecting),
        "between"
    );
    page.hear(Event::Forgotten);
    assert_eq!(page.effects, [Effect::Connect(Backend::BrowserCpu)], "then");
    page.hear(Event::Loaded).hear(welcomed(false));
    assert!(page.supervisor.is_settled, "there it stays");
    page.hear(Event::Chosen(Wish::Companion))
        .hear(Event::Forgotten);
    assert_eq!(page.line, COMPANION, "and back");
    assert_eq!(page.supervisor.reason(), "You chose the companion.", "why");
}

#[test]
fn a_wish_for_where_it_trains_already_changes_the_reason_only() {
    let mut page = Page::settled_there();
    page.hear(Event::Chosen(Wish::Companion));
    assert_eq!(
        page.effects,
        [Effect::Keep(Wish::Companion)],
        "the line stands"
    );
    assert_eq!(page.supervisor.reason(), "You chose the companion.", "why");
    assert!(page.supervisor.is_settled, "for good");
}

#[test]
fn a_wish_for_the_gpu_keeps_the_line_until_the_gpu_is_known() {
    let mut page = Page::settled_there();
    page.hear(Event::Chosen(Wish::BrowserGpu));
    let expected = [Effect::Keep(Wish::BrowserGpu), Effect::AskForGpu];
    assert_eq!(page.effects, expected, "first");
    assert_eq!(
        *page.status(),
        Status::Connected,
        "the run can be seen meanwhile"
    );
    page.hear(Event::Gpu(real())).hear(Event::Forgotten);
    assert_eq!(page.line, BROWSER_GPU, "then");
}

#[test]
fn a_wish_that_is_taken_back_in_time_changes_nothing() {
    let mut page = Page::settled_there();
    page.hear(Event::Chosen(Wish::BrowserGpu));
    page.hear(Event::Chosen(Wish::Companion));
    page.hear(Event::Gpu(real()));
    assert_eq!(page.effects, [], "the answer comes too late to matter");
    assert_eq!(
        (page.line, page.place()),
        (COMPANION, COMPANION),
        "it stays"
    );
}

#[test]
fn a_wish_while_the_page_lets_go_is_where_it_turns_to() {
    let mut page = Page::settled_there();
    page.hear(Event::Chosen(Wish::BrowserCpu));
    page.hear(Event::Chosen(Wish::Companion));
    assert_eq!(
        page.effects,
        [Effect::Keep(Wish::Companion)],
        "first it lets go"
    );
    page.hear(Event::Forgotten);
    assert_eq!(page.line, COMPANION, "the last wish");
}

#[test]
fn a_wish_ends_the_pause_and_begins_its_tries_anew() {
    let mut page = Page::served(Wish::Companion);
    for _ in 0..4 {
        page.lose().wait();
    }
    page.lose();
    page.hear(Event::Chosen(Wish::Companion));
    assert_eq!(page.line, COMPANION, "at once");
    page.lose();
    assert_eq!(page.wait(), 1, "as at first");
}

#[test]
fn automatic_looks_for_the_companion_again() {
    let mut page = Page::served(Wish::Automatic);
    page.lose().hear(Event::Gpu(real()));
    page.hear(Event::Forgotten)
        .hear(Event::Loaded)
        .hear(welcomed(true));
    assert_eq!(page.place(), BROWSER_GPU, "it was not there");
    page.hear(Event::Chosen(Wish::Automatic))
        .hear(Event::Forgotten);
    assert_eq!(page.line, COMPANION, "it may have been started");
    page.hear(welcomed(true));
    assert_eq!(page.place(), COMPANION, "and was");
}

#[test]
fn a_wish_is_kept_for_the_next_time() {
    for wish in Wish::ALL {
        let mut page = Page::settled_there();
        page.hear(Event::Chosen(wish));
        assert_eq!(page.effects[0], Effect::Keep(wish), "{wish:?}");
        assert_eq!(page.supervisor.wish(), wish, "on the page");
    }
}

#[test]
fn the_gpu_is_asked_for_once_however_many_want_to_know() {
    let mut page = Page::settled_there();
    page.hear(Event::GpuWanted);
    assert_eq!(page.effects, [Effect::AskForGpu], "somebody looks");
    page.hear(Event::GpuWanted);
    assert_eq!(page.effects, [], "it is being asked");
    page.hear(Event::Chosen(Wish::BrowserGpu));
    assert_eq!(page.effects, [Effect::Keep(Wish::BrowserGpu)], "still");
    page.hear(Event::Gpu(WebGpu::Missing))
        .hear(Event::GpuWanted);
    assert!(!page.asks_for_gpu, "it is known");
    assert_eq!(page.supervisor.facts().gpu, WebGpu::Missing, "and told");
}

// Tabs of one browser.

#[test]
fn a_worker_that_finds_another_tab_training_waits_and_says_so() {
    let mut page = Page::hosted(real());
    page.hear(Event::Elsewhere);
    assert_eq!(
        (page.effects.len(), page.status()),
        (0, &Status::Elsewhere),
        "said"
    );
    page.hear(Event::Seen).hear(Event::Retried);
    assert_eq!(page.effects, [], "a glance takes nothing from nobody");
    page.hear(Event::Loaded);
    assert_eq!(
        *page.status(),
        Status::Connecting,
        "the other tab was closed"
    );
    page.hear(welcomed(true));
    assert_eq!(*page.status(), Status::Connected, "so it trains here");
}

#[test]
fn the_user_takes_over_from_another_tab() {
    let mut page = Page::hosted(real());
    page.hear(Event::Elsewhere).hear(Event::TakenOver);
    assert_eq!(page.effects, [Effect::TakeOver], "the worker is told");
    page.hear(Event::Elsewhere);
    assert_eq!(
        page.effects,
        [Effect::TakeOver],
        "and again, should one be faster"
    );
    page.hear(Event::Loaded).hear(welcomed(true));
    assert_eq!(*page.status(), Status::Connected, "it trains here");
}

#[test]
fn the_worker_is_taken_over_by_another_tab_and_taken_back() {
    let mut page = Page::settled_here();
    page.taken();
    let said = Status::Taken("It trains there.".to_owned());
    assert_eq!(
        (page.status(), &page.effects[..]),
        (&said, &[Effect::HangUp][..]),
        "rests"
    );
    page.hear(Event::Seen);
    assert_eq!(page.effects, [], "two tabs that are looked at would fight");
    page.hear(Event::TakenOver);
    assert_eq!(
        page.effects,
        [Effect::Connect(Backend::BrowserGpu)],
        "a new worker"
    );
    page.hear(Event::Elsewhere);
    assert_eq!(page.effects, [Effect::TakeOver], "which need not ask again");
    page.hear(Event::Loaded).hear(welcomed(true)).taken();
    page.hear(Event::Retried).hear(Event::Elsewhere);
    assert_eq!(
        *page.status(),
        Status::Elsewhere,
        "it was taken back once only"
    );
}

#[test]
fn there_is_nothing_to_take_over_where_no_other_tab_trains() {
    let mut page = Page::settled_here();
    page.hear(Event::TakenOver);
    assert_eq!(page.effects, [], "it trains here");
    page.crash().wait();
    page.hear(Event::Elsewhere);
    assert_eq!(*page.status(), Status::Elsewhere, "nor is it remembered");
}

#[test]
fn who_goes_to_the_companion_and_back_takes_nothing_over_unasked() {
    let mut page = Page::hosted(real());
    page.hear(Event::Elsewhere).hear(Event::TakenOver);
    page.hear(Event::Chosen(Wish::Companion))
        .hear(Event::Forgotten);
    page.hear(Event::Chosen(Wish::BrowserGpu))
        .hear(Event::Forgotten);
    page.hear(Event::Elsewhere);
    assert_eq!(*page.status(), Status::Elsewhere, "the user is asked");
}

#[test]
fn a_worker_that_dies_while_it_takes_over_goes_on_taking_over() {
    let mut page = Page::hosted(real());
    page.hear(Event::Elsewhere)
        .hear(Event::TakenOver)
        .crash()
        .wait();
    page.hear(Event::Elsewhere);
    assert_eq!(page.effects, [Effect::TakeOver], "it was asked for");
}

// A worker that ends.

#[test]
fn a_worker_that_ends_is_started_again_three_times_and_then_the_user_is_asked() {
    let mut page = Page::settled_here();
    for pause in [1, 2, 4] {
        page.crash();
        let said = Status::Broken {
            why: "The GPU is lost.".to_owned(),
            retry_secs: Some(pause),
        };
        assert_eq!(*page.status(), said, "why, and when it is started again");
        assert_eq!(page.wait(), pause, "longer each time");
        assert_eq!(page.line, BROWSER_GPU, "by itself");
        assert_eq!(*page.status(), Status::Connecting, "on its way");
    }
    page.crash();
    let said = Status::Broken {
        why: "The GPU is lost.".to_owned(),
        retry_secs: None,
    };
    assert_eq!((page.status(), page.waits), (&said, false), "it rests");
    page.hear(Event::Seen);
    assert_eq!(page.effects, [], "a glance starts nothing");
    page.hear(Event::Retried);
    assert_eq!(page.line, BROWSER_GPU, "the user does");
    page.crash();
    assert_eq!(page.wait(), 1, "with all its tries");
}

#[test]
fn a_worker_that_came_to_train_has_all_its_restarts_again() {
    let mut page = Page::settled_here();
    page.crash().wait();
    page.crash().wait();
    for phase in [Phase::Loading, Phase::Compiling, Phase::Encoding] {
        page.hear(Event::Ran(phase));
    }
    page.crash();
    assert_eq!(page.wait(), 4, "to begin is no success");
    page.hear(Event::Loaded).hear(welcomed(true));
    page.hear(Event::Ran(Phase::Training)).crash();
    assert_eq!(page.wait(), 1, "to train is one");
}

#[test]
fn a_click_starts_a_worker_before_its_pause_is_over_and_a_glance_does_not() {
    let mut page = Page::settled_here();
    page.crash().hear(Event::Seen);
    assert_eq!(page.effects, [], "a GPU needs its time");
    page.hear(Event::Retried);
    assert_eq!(page.line, BROWSER_GPU, "the user may know better");
    page.crash();
    assert_eq!(page.wait(), 2, "the click forgives nothing");
}

#[test]
fn a_worker_that_ends_without_a_word_is_one_that_broke() {
    let mut page = Page::hosted(real());
    page.lose();
    let Status::Broken { why, retry_secs } = page.status() else {
        panic!("not a companion that is gone: {:?}", page.status());
    };
    assert_eq!(
        (&**why, *retry_secs),
        (FAILED, Some(1)),
        "said, and tried again"
    );
}

#[test]
fn a_worker_that_lost_its_gpu_is_left_for_the_cpu_with_all_its_restarts() {
    let mut page = Page::settled_here();
    for _ in 0..3 {
        page.crash().wait();
    }
    page.crash().hear(Event::Chosen(Wish::BrowserCpu));
    page.hear(Event::Forgotten);
    assert_eq!(page.line, BROWSER_CPU, "at once");
    page.crash();
    assert_eq!(page.wait(), 1, "nothing is held against it");
}

#[test]
fn a_browser_that_was_turned_to_stays_chosen_when_its_worker_ends() {
    let mut page = Page::served(Wish::Automatic);
    page.hear(welcomed(false)).hear(Event::Gpu(real()));
    page.hear(Event::Forgotten).crash().wait();
    assert_eq!(page.line, BROWSER_GPU, "by what is known it is still best");
    assert_eq!(
        page.supervisor.facts().companion,
        there(false, false),
        "an offer"
    );
}

// What comes too late, and what training sees of it.

#[test]
fn what_comes_too_late_leads_to_nothing() {
    for event in [
        Event::Forgotten,
        Event::Second,
        Event::Loaded,
        Event::Elsewhere,
        Event::TakenOver,
        Event::Retried,
        Event::Seen,
        welcomed(false),
    ] {
        let mut page = Page::settled_there();
        page.hear(event.clone());
        assert_eq!(page.effects, [], "{event:?}");
        assert_eq!(*page.status(), Status::Connected, "{event:?}");
    }
    let mut page = Page::settled_there();
    page.lose().lose();
    assert_eq!(page.effects, [], "a line ends once");
}

#[test]
fn training_waits_for_what_comes_by_itself_only() {
    use preflight::LinkState;
    let broken = |retry_secs| Status::Broken {
        why: String::new(),
        retry_secs,
    };
    let refused = || Status::Refused(String::new());
    for (status, is_browser, line) in [
        (Status::Connected, false, LinkState::Ready),
        (Status::Connecting, true, LinkState::Coming),
        (broken(Some(1)), true, LinkState::Coming),
        (broken(None), true, LinkState::Broken),
        (refused(), true, LinkState::Broken),
        (refused(), false, LinkState::NoCompanion),
        (
            Status::Lost { retry_secs: 1 },
            false,
            LinkState::NoCompanion,
        ),
        (Status::Elsewhere, true, LinkState::Elsewhere),
        (Status::Taken(String::new()), true, LinkState::Elsewhere),
    ] {
        assert_eq!(status.line(is_browser), line, "{status:?}");
    }
}

/// Everything that can happen, likely or not.
fn events() -> impl Strategy<Value = Event> {
    let end = prop_oneof![
        Just(End::Lost),
        Just(End::Token(String::new())),
        Just(End::Refused(String::new())),
    ];
    prop_oneof![
        (0..4_usize).prop_map(|at| Event::Chosen(Wish::ALL[at])),
        Just(Event::Retried),
        Just(Event::TakenOver),
        Just(Event::Seen),
        Just(Event::GpuWanted),
        Just(Event::Gpu(WebGpu::Missing)),
        Just(Event::Gpu(real())),
        Just(Event::Forgotten),
        Just(Event::Second),
        Just(Event::Loaded),
        Just(Event::Elsewhere),
        (any::<bool>(), any::<bool>())
            .prop_map(|(is_gpu, is_busy)| Event::Welcomed { is_gpu, is_busy }),
        any::<bool>().prop_map(Event::Busy),
        Just(Event::Ran(Phase::Training)),
        end.prop_map(Event::Ended),
        Just(Event::Ended(End::Broken(String::new()))),
        Just(Event::Ended(End::Taken(String::new()))),
    ]
}

/// Whether a page could report this now: nothing answers that was not asked.
fn may_happen(page: &Page, event: &Event) -> bool {
    let is_worker = page.line.is_some_and(Backend::is_browser);
    match event {
        Event::Gpu(_) => page.asks_for_gpu,
        Event::Forgotten => page.forgets,
        Event::Second => page.waits,
        Event::Loaded | Event::Elsewhere | Event::Ended(End::Broken(_) | End::Taken(_)) => {
            is_worker
        }
        Event::Ended(End::Token(_)) => page.line == COMPANION,
        Event::Welcomed { .. } | Event::Busy(_) | Event::Ran(_) | Event::Ended(_) => {
            page.line.is_some()
        }
        _ => true,
    }
}

proptest! {
    #[test]
    fn whatever_happens_something_leads_on(
        wish in 0..4_usize,
        may_be_served in any::<bool>(),
        has_trainer in any::<bool>(),
        happens in proptest::collection::vec(events(), 0..60),
    ) {
        let companion = if may_be_served { Companion::Unknown } else { Companion::Unreachable };
        let trainer = if has_trainer { TrainerBuild::Included } else { TrainerBuild::LeftOut };
        // `Page::check` looks after each of them.
        let mut page = Page::open(Wish::ALL[wish], companion, trainer);
        for event in happens {
            if may_happen(&page, &event) {
                page.hear(event);
            }
        }
    }
}
