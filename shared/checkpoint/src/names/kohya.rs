//! kohya's LoRA names of a model's modules.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::{Architecture, CheckpointError, Component};

use super::{LDM_UNET_PREFIX, UnetKeys, UnetLayout};

impl Component {
    /// What kohya writes before the path; the first is the one that Mimeo writes. Of a component that
    /// no LoRA adapts there is none.
    #[must_use]
    pub const fn kohya_prefixes(self) -> &'static [&'static str] {
        match self {
            Self::Unet => &["lora_unet_"],
            Self::TextEncoder => &["lora_te_", "lora_te1_"],
            Self::TextEncoder2 => &["lora_te2_"],
            Self::Vae | Self::Scheduler => &[],
        }
    }

    /// The kohya name of the module at `path`: `down_blocks.0.attentions.0.proj_in` →
    /// `lora_unet_down_blocks_0_attentions_0_proj_in`.
    #[must_use]
    pub fn kohya_name(self, path: &str) -> String {
        joined(self.kohya_prefix(), path)
    }

    /// Nothing, where no LoRA adapts the component.
    fn kohya_prefix(self) -> &'static str {
        self.kohya_prefixes().first().copied().unwrap_or_default()
    }
}

/// How the LoRAs of a model spell the paths of its UNet.
#[derive(Debug, Clone)]
pub enum Spelling {
    /// As diffusers names them: Stable Diffusion 1 and 2.
    Diffusers,
    /// As ldm numbers them: XL (sd-scripts trains it under the names of Stability's own program).
    Ldm(UnetKeys),
}

impl Spelling {
    /// The one that kohya's tools write for a model of this kind.
    ///
    /// - `layout`: none for a UNet whose blocks ldm could not number
    #[must_use]
    pub fn of(architecture: Architecture, layout: Option<&UnetLayout>) -> Self {
        match layout {
            Some(layout) if architecture.is_xl() => Self::Ldm(UnetKeys::new(layout)),
            _ => Self::Diffusers,
        }
    }

    /// The name in a LoRA file of the module at diffusers' `path`.
    #[must_use]
    pub fn kohya_name(&self, component: Component, path: &str) -> String {
        let ldm = match self {
            Self::Ldm(keys) if component == Component::Unet => keys.ldm_from_diffusers(path),
            Self::Ldm(_) | Self::Diffusers => None,
        };
        match ldm {
            Some(ldm) => component.kohya_name(ldm.trim_start_matches(LDM_UNET_PREFIX)),
            None => component.kohya_name(path),
        }
    }
}

/// What stands before the paths of a text encoder's modules in transformers before 5.
const TEXT_MODEL: &str = "text_model.";

/// The modules of a component, found by their kohya names.
#[derive(Debug, Clone)]
pub struct ModuleNames {
    component: Component,
    path_by_name: BTreeMap<String, String>,
}

impl ModuleNames {
    /// Takes the paths of all modules that a LoRA may address; a text encoder's are found with and
    /// without `text_model`.
    ///
    /// # Errors
    /// [`CheckpointError::AmbiguousName`] if two paths join to one name.
    pub fn new<'a>(
        component: Component,
        paths: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, CheckpointError> {
        let mut names = Self {
            component,
            path_by_name: BTreeMap::new(),
        };
        for path in paths {
            // transformers 5 no longer has the outer model that every older file names.
            let inner = path.strip_prefix(TEXT_MODEL).unwrap_or(path);
            let outer = match component {
                Component::TextEncoder | Component::TextEncoder2 => format!("{TEXT_MODEL}{inner}"),
                _ => path.to_owned(),
            };
            for prefix in component.kohya_prefixes() {
                names.insert(joined(prefix, inner), path)?;
                names.insert(joined(prefix, &outer), path)?;
            }
        }
        Ok(names)
    }

    /// Also finds the modules by their ldm names, which some programs write
    /// (`lora_unet_input_blocks_1_1_proj_in`).
    ///
    /// # Errors
    /// [`CheckpointError::AmbiguousName`] if such a name already belongs to another module.
    pub fn with_ldm_names(mut self, keys: &UnetKeys) -> Result<Self, CheckpointError> {
        let paths: Vec<String> = self.path_by_name.values().cloned().collect();
        let prefix = self.component.kohya_prefix();
        for path in paths {
            if let Some(ldm) = keys.ldm_from_diffusers(&path) {
                self.insert(
                    joined(prefix, ldm.trim_start_matches(LDM_UNET_PREFIX)),
                    &path,
                )?;
            }
        }
        Ok(self)
    }

    /// The path of the module called `name` (without `.lora_down.weight`), if the component has one.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&str> {
        self.path_by_name.get(name).map(String::as_str)
    }

    /// The same beside the component.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<(Component, &str)> {
        Some((self.component, self.path(name)?))
    }

    fn insert(&mut self, name: String, path: &str) -> Result<(), CheckpointError> {
        match self.path_by_name.entry(name) {
            Entry::Vacant(place) => {
                place.insert(path.to_owned());
                Ok(())
            }
            Entry::Occupied(taken) if taken.get() == path => Ok(()),
            Entry::Occupied(taken) => Err(CheckpointError::AmbiguousName {
                name: taken.key().clone(),
                first: taken.get().clone(),
                second: path.to_owned(),
            }),
        }
    }
}

fn joined(prefix: &str, path: &str) -> String {
    format!("{prefix}{}", path.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::UnetLayout;

    const PATH: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0";

    #[test]
    fn a_module_is_found_by_its_kohya_and_its_ldm_name() {
        let keys = UnetKeys::new(&UnetLayout::sd1());
        let names = ModuleNames::new(Component::Unet, [PATH])
            .unwrap()
            .with_ldm_names(&keys)
            .unwrap();
        for name in [
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0",
            "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0",
        ] {
            assert_eq!(names.path(name), Some(PATH), "of {name}");
        }
        assert_eq!(
            names.path("lora_unet_mid_block_attentions_0_proj_in"),
            None,
            "not ours"
        );
        assert_eq!(
            Component::Unet.kohya_name(PATH),
            "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0",
            "the name that is written"
        );
    }

    #[test]
    fn xl_is_written_in_ldm_s_names_and_the_others_in_diffusers() {
        let layout = UnetLayout {
            layers_per_block: 2,
            down_attention: vec![false, true, true],
            up_attention: vec![true, true, false],
        };
        let path = "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q";
        for (architecture, layout, block) in [
            (Architecture::Sdxl, Some(&layout), "input_blocks_4_1"),
            (Architecture::SdxlLike, Some(&layout), "input_blocks_4_1"),
            (Architecture::SdxlLike, None, "down_blocks_1_attentions_0"),
            (
                Architecture::Sd2,
                Some(&layout),
                "down_blocks_1_attentions_0",
            ),
        ] {
            let name = Spelling::of(architecture, layout).kohya_name(Component::Unet, path);
            let expected = format!("lora_unet_{block}_transformer_blocks_1_attn1_to_q");
            assert_eq!(name, expected, "{architecture:?}");
        }
    }

    #[test]
    fn both_names_of_the_first_text_encoder_are_known() {
        let path = "text_model.encoder.layers.0.self_attn.q_proj";
        let names = ModuleNames::new(Component::TextEncoder, [path]).unwrap();
        for prefix in ["lora_te", "lora_te1"] {
            let name = format!("{prefix}_text_model_encoder_layers_0_self_attn_q_proj");
            assert_eq!(names.path(&name), Some(path), "of {name}");
        }
    }

    #[test]
    fn a_text_encoder_s_modules_are_found_as_old_and_new_transformers_name_them() {
        let layer = "encoder.layers.0.self_attn.q_proj";
        for path in [layer.to_owned(), format!("text_model.{layer}")] {
            let names = ModuleNames::new(Component::TextEncoder2, [&*path]).unwrap();
            for name in ["lora_te2_text_model_encoder", "lora_te2_encoder"] {
                let name = format!("{name}_layers_0_self_attn_q_proj");
                assert_eq!(names.path(&name), Some(&*path), "{name} of {path}");
            }
        }
    }

    #[test]
    fn paths_that_join_to_one_name_are_refused() {
        let answer = ModuleNames::new(Component::Unet, ["a.b_c", "a_b.c"]);
        assert!(
            matches!(answer, Err(CheckpointError::AmbiguousName { .. })),
            "guessing would apply a weight to the wrong module: {answer:?}"
        );
    }
}
