use super::*;

fn real() -> WebGpu {
    WebGpu::Real(adapter("nvidia ampere"))
}

fn adapter(name: &str) -> Adapter {
    Adapter {
        name: name.to_owned(),
        max_buffer_bytes: 4_294_967_296,
        max_binding_bytes: 2_147_483_644,
        has_f16: true,
    }
}

const fn there(is_gpu: bool) -> Companion {
    Companion::There {
        is_gpu,
        is_busy: false,
    }
}

/// Every way in which it can be there, or not.
const COMPANIONS: [Companion; 5] = [
    Companion::Unknown,
    Companion::Unreachable,
    Companion::Away,
    there(false),
    there(true),
];

fn place(companion: Companion, gpu: WebGpu, wish: Wish) -> Option<Backend> {
    choose(&facts(companion, gpu), wish).map(|choice| choice.place)
}

fn reason(companion: Companion, gpu: WebGpu, wish: Wish) -> String {
    choose(&facts(companion, gpu), wish).unwrap().reason
}

fn facts(companion: Companion, gpu: WebGpu) -> BackendFacts {
    BackendFacts {
        companion,
        gpu,
        trainer: TrainerBuild::Included,
    }
}

/// Of a page that was built without the browser's trainer.
fn without_trainer(companion: Companion) -> BackendFacts {
    BackendFacts {
        trainer: TrainerBuild::LeftOut,
        ..facts(companion, WebGpu::Unknown)
    }
}

#[test]
fn companion_with_a_gpu_then_browser_gpu_then_companion_then_browser() {
    use Backend::{BrowserCpu, BrowserGpu};
    let software = || WebGpu::Software(adapter("SwiftShader"));
    let cases = [
        (there(true), real(), Backend::Companion),
        (there(true), WebGpu::Unknown, Backend::Companion),
        (there(false), real(), BrowserGpu),
        (there(false), software(), Backend::Companion),
        (there(false), WebGpu::Missing, Backend::Companion),
        (Companion::Away, real(), BrowserGpu),
        (Companion::Unreachable, real(), BrowserGpu),
        (Companion::Unreachable, software(), BrowserCpu),
        (Companion::Unreachable, WebGpu::NoAdapter, BrowserCpu),
        (Companion::Away, WebGpu::Insecure, BrowserCpu),
    ];
    for (companion, gpu, expected) in cases {
        let found = place(companion, gpu.clone(), Wish::Automatic);
        assert_eq!(found, Some(expected), "{companion:?} {gpu:?}");
    }
}

#[test]
fn the_gpu_is_asked_for_only_where_it_matters() {
    let unknown = || WebGpu::Unknown;
    for companion in [Companion::Away, Companion::Unreachable, there(false)] {
        let found = place(companion, unknown(), Wish::Automatic);
        assert_eq!(found, None, "{companion:?}: it decides");
    }
    let found = place(Companion::Unknown, unknown(), Wish::Automatic);
    assert_eq!(found, Some(Backend::Companion), "it is looked for first");
    assert_eq!(
        place(there(true), unknown(), Wish::BrowserGpu),
        None,
        "the wish needs it"
    );
}

#[test]
fn a_companion_in_the_middle_of_its_runs_is_not_left() {
    let busy = Companion::There {
        is_gpu: false,
        is_busy: true,
    };
    assert_eq!(
        place(busy, real(), Wish::Automatic),
        Some(Backend::Companion),
        "its runs are on the page"
    );
    assert!(
        reason(busy, real(), Wish::Automatic).contains("runs under way"),
        "and that is said"
    );
}

#[test]
fn what_the_user_wants_is_done_where_it_can_be() {
    for companion in [there(true), there(false), Companion::Unreachable] {
        let found = |wish| place(companion, real(), wish);
        assert_eq!(
            found(Wish::Companion),
            Some(Backend::Companion),
            "{companion:?}"
        );
        assert_eq!(
            found(Wish::BrowserGpu),
            Some(Backend::BrowserGpu),
            "{companion:?}"
        );
        assert_eq!(
            found(Wish::BrowserCpu),
            Some(Backend::BrowserCpu),
            "{companion:?}"
        );
    }
    let software = WebGpu::Software(adapter("SwiftShader"));
    assert_eq!(
        place(there(true), software.clone(), Wish::BrowserGpu),
        Some(Backend::BrowserGpu),
        "slow, but it can be had"
    );
    let said = reason(there(true), software, Wish::BrowserGpu);
    assert!(said.contains("SwiftShader"), "with a warning: {said}");
    assert_eq!(
        place(there(true), WebGpu::Missing, Wish::BrowserGpu),
        Some(Backend::BrowserCpu),
        "what is not there cannot be had"
    );
}

#[test]
fn every_reason_is_one_sentence_and_says_what_to_do_about_webgpu() {
    let gpus = [
        (WebGpu::Insecure, "HTTPS"),
        (WebGpu::Missing, "Chrome"),
        (WebGpu::NoAdapter, "hardware acceleration"),
        (
            WebGpu::Software(adapter("SwiftShader")),
            "hardware acceleration",
        ),
        (real(), ""),
    ];
    for companion in COMPANIONS {
        for wish in Wish::ALL {
            for (gpu, remedy) in gpus.clone() {
                let said = reason(companion, gpu.clone(), wish);
                let case = format!("{companion:?} {gpu:?} {wish:?}: {said}");
                assert!(said.ends_with('.'), "{case}");
                assert_eq!(said.matches(". ").count(), 0, "{case}");
                let chose = choose(&facts(companion, gpu), wish).unwrap();
                let is_asked = wish == Wish::BrowserGpu
                    || (wish == Wish::Automatic && chose.place == Backend::BrowserCpu);
                assert!(!is_asked || said.contains(remedy), "{case}");
            }
        }
    }
}

#[test]
fn without_its_trainer_the_browser_is_never_chosen_and_that_is_said() {
    for companion in COMPANIONS {
        let facts = without_trainer(companion);
        for wish in Wish::ALL {
            let choice = choose(&facts, wish).expect("its GPU need not be asked for");
            let case = format!("{companion:?} {wish:?}: {}", choice.reason);
            assert_eq!(choice.place, Backend::Companion, "{case}");
            assert!(choice.reason.ends_with('.'), "{case}");
            assert_eq!(choice.reason.matches(". ").count(), 0, "{case}");
            let is_missed = match wish {
                Wish::Companion => false,
                Wish::BrowserGpu | Wish::BrowserCpu => true,
                Wish::Automatic => companion != Companion::Unknown && companion != there(true),
            };
            let says_how = choice.reason.contains("`cargo xtask run --browser`");
            assert_eq!(says_how, is_missed, "{case}");
        }
    }
}

#[test]
fn what_the_browser_can_do_is_told_with_or_without_its_trainer() {
    let said = without_trainer(there(false)).describe_browser().unwrap();
    assert!(said.contains("--browser"), "not its GPU: {said}");
    let said = facts(there(false), real()).describe_browser().unwrap();
    assert!(said.contains("nvidia ampere"), "its GPU: {said}");
}

#[test]
fn nothing_trains_only_where_there_is_neither_companion_nor_trainer() {
    let said = without_trainer(Companion::Unreachable).nowhere().unwrap();
    assert!(said.contains("--browser"), "and what to do: {said}");
    for somewhere in [
        without_trainer(Companion::Away),
        facts(Companion::Unreachable, WebGpu::Missing),
    ] {
        assert_eq!(somewhere.nowhere(), None, "{somewhere:?}");
    }
}

#[test]
fn wishes_are_kept_by_name() {
    for wish in Wish::ALL {
        assert_eq!(Wish::from_name(wish.name()), Some(wish), "there and back");
    }
    assert_eq!(Wish::from_name("gpu"), None, "anything else is none");
}

#[test]
fn software_is_found_out_also_where_the_browser_does_not_say_so() {
    let info = |architecture: &str, description: &str, is_fallback| AdapterInfo {
        vendor: "google".to_owned(),
        architecture: architecture.to_owned(),
        description: description.to_owned(),
        is_fallback,
    };
    assert!(
        info("swiftshader", "", false).is_software(),
        "by architecture"
    );
    assert!(
        info("", "llvmpipe (LLVM 15)", false).is_software(),
        "by name"
    );
    assert!(info("", "", true).is_software(), "by its own word");
    assert!(!info("ampere", "", false).is_software(), "a GPU");
    assert_eq!(
        info("ampere", "", false).name(),
        "google ampere",
        "what is told"
    );
    assert_eq!(
        AdapterInfo::default().name(),
        "a GPU that the browser does not name",
        "and where nothing is"
    );
}

#[test]
fn limits_are_told() {
    let said = real().describe().unwrap();
    for part in ["nvidia ampere", "4.3 GB", "2.1 GB", "16-bit numbers: yes"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(WebGpu::Unknown.describe(), None, "not asked yet");
    let said = WebGpu::Missing.describe().unwrap();
    assert!(
        said.starts_with("No WebGPU: this browser has no WebGPU"),
        "{said}"
    );
}

#[test]
fn a_companion_is_asked_for_only_where_one_may_be() {
    let origin = |host, fragment, is_isolated, is_secure| Origin {
        fragment,
        host,
        is_isolated,
        is_secure,
    };
    let may = |origin: Origin<'_>| origin.may_be_companion();
    assert!(
        may(origin("127.0.0.1", "", true, true)),
        "as it serves the page"
    );
    assert!(
        may(origin("gpu.lan", "#token=5f", false, true)),
        "its own link"
    );
    assert!(may(origin("127.0.0.1", "", false, false)), "an old browser");
    assert!(
        !may(origin("localhost", "", false, true)),
        "a static host here"
    );
    assert!(
        !may(origin("mimeo.example", "", false, true)),
        "and anywhere"
    );
    assert!(
        !may(origin("mimeo.example", "#token=", false, true)),
        "no token"
    );
}

#[test]
fn a_page_is_no_token() {
    assert!(is_token("5f0aC-_"), "letters and digits");
    for answer in ["", "<!doctype html>", "Not found", &"a".repeat(300)] {
        assert!(!is_token(answer), "{answer}");
    }
}
