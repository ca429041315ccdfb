//! `mimeo completions` and `mimeo man`: what shells and `man` want to know of the command line, from
//! the program itself, so that it fits however the program was installed.

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use crate::console;
use crate::exit::{BadInput, Exit};

/// Print the completions for a shell.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(&self) -> Exit {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "mimeo", &mut script);
        console::out(String::from_utf8_lossy(&script).trim_end());
        Exit::Done
    }
}

/// Print a manual page.
#[derive(Debug, Args)]
pub struct Manual {
    /// A command, such as `train` or `bench-methods` [default: the whole program]
    page: Option<String>,
}

impl Manual {
    /// Prints it.
    ///
    /// # Errors
    /// When there is no such page.
    pub fn run(&self) -> anyhow::Result<Exit> {
        let name = match &self.page {
            Some(page) => format!("mimeo-{page}"),
            None => "mimeo".to_owned(),
        };
        let mut pages = pages();
        let Some(place) = pages.iter().position(|page| name_of(page) == name) else {
            let names: Vec<_> = pages.iter().map(name_of).collect();
            let names = names.iter().filter_map(|name| name.strip_prefix("mimeo-"));
            let names: Vec<_> = names.collect();
            let why = format!(
                "there is no page of this name; the pages are {}",
                names.join(", ")
            );
            return Err(BadInput(why).into());
        };
        let mut roff = Vec::new();
        // By itself, only the main page would name the version.
        let source = format!("mimeo {}", env!("CARGO_PKG_VERSION"));
        let page = Man::new(pages.swap_remove(place)).source(source);
        page.render(&mut roff)?;
        console::out(String::from_utf8_lossy(&roff).trim_end());
        Ok(Exit::Done)
    }
}

/// Every command that has a page, the program itself first.
fn pages() -> Vec<Command> {
    let mut program = Cli::command().disable_help_subcommand(true);
    // Only now do commands know how they are called.
    program.build();
    let mut pages = Vec::new();
    let mut open = vec![program];
    while let Some(command) = open.pop() {
        let below = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set());
        let below: Vec<_> = below.cloned().collect();
        open.extend(below.into_iter().rev());
        pages.push(command);
    }
    pages
}

fn name_of(page: &Command) -> &str {
    page.get_display_name().unwrap_or_else(|| page.get_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page() {
        let pages = pages();
        let names: Vec<_> = pages.iter().map(name_of).collect();
        assert_eq!(names[0], "mimeo", "the program itself");
        for name in ["mimeo-serve", "mimeo-train", "mimeo-bench-methods"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        for hidden in [
            "mimeo-completions",
            "mimeo-man",
            "mimeo-help",
            "mimeo-bench-help",
        ] {
            assert!(!names.contains(&hidden), "{hidden} in {names:?}");
        }
    }
}
