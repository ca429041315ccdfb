//! What is said about a prompt below its field, before anybody draws it.

use mimeo_prompt::{is_the_same_in_every_syntax, read};
use mimeo_protocol::{PromptSyntax, Recipe};

/// What is left out of the prompts or read otherwise than some program does, each as one sentence.
///
/// - `prompts`: one on each line
#[must_use]
pub fn notes(prompts: &str, syntax: PromptSyntax) -> Vec<String> {
    let mut notes = Vec::new();
    for prompt in prompts.lines() {
        for note in read(prompt, syntax).notes {
            let note = note.to_string();
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    notes
}

/// A recipe from before prompts had a syntax, with the usual one where that changes nothing about what
/// it trains: the next prompt that is typed is then read as prompts are.
#[must_use]
pub fn with_syntax(mut recipe: Recipe) -> Recipe {
    let is_old = recipe.prompt_syntax == PromptSyntax::Cut;
    if is_old && is_the_same_in_every_syntax(&recipe.prompt) {
        recipe.prompt_syntax = PromptSyntax::USUAL;
    }
    recipe
}

#[cfg(test)]
mod tests {
    use mimeo_protocol::{Method, ModelSize};

    use super::*;

    #[test]
    fn each_sentence_stands_once_below_a_list_of_prompts() {
        let prompts = "a <lora:x:1>\n(b:1.2)\nc <lora:x:1>";
        let said = notes(prompts, PromptSyntax::A1111);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("“<lora:x:1>” is left out"), "{said:?}");
        assert!(notes(prompts, PromptSyntax::Plain).is_empty(), "as asked");
    }

    #[test]
    fn an_old_recipe_gets_a_syntax_where_it_means_the_same() {
        let old = |prompt: &str| Recipe {
            prompt: prompt.to_owned(),
            prompt_syntax: PromptSyntax::Cut,
            ..Recipe::preset(Method::Copier, ModelSize::Small)
        };
        for (prompt, syntax) in [
            ("", PromptSyntax::USUAL),
            ("glasses, smile", PromptSyntax::USUAL),
            ("(glasses:1.2)", PromptSyntax::Cut),
            ("[hat]", PromptSyntax::Cut),
            (&"glasses, ".repeat(20), PromptSyntax::Cut),
        ] {
            assert_eq!(with_syntax(old(prompt)).prompt_syntax, syntax, "{prompt}");
        }
        let chosen = Recipe {
            prompt_syntax: PromptSyntax::Comfy,
            ..old("smile")
        };
        assert_eq!(with_syntax(chosen.clone()), chosen, "what was chosen stays");
    }
}
