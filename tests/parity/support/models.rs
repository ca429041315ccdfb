//! The models of the fixtures: the bundled base, a small random one with SD1.x's structure, and a
//! whole base in miniature.

use std::sync::LazyLock;

use burn::tensor::Device;
use mimeo_checkpoint::{
    Checkpoint, Component, ComponentWeights, EmbeddedFolder, TextEncoderConfig, UNetConfig,
    VaeConfig,
};
use mimeo_diffusion::{
    Arithmetic, AutoencoderKl, ClipTextModel, ClipTextModelWithProjection, UNet2DConditionModel,
    WeightFormat, WeightMap,
};
use mimeo_engine::{ArithmeticChoice, Base, Event};
use pollster::block_on;

use super::fixture;

/// The CPU backend.
pub fn cpu() -> Device {
    Device::flex()
}

/// The bundled base on the CPU, loaded once for all tests.
pub fn base() -> &'static Base {
    static BASE: LazyLock<Base> = LazyLock::new(|| load_base(&cpu()));
    &BASE
}

/// The bundled base on a device.
pub fn load_base(device: &Device) -> Base {
    load_folder(&bundled(), device, Arithmetic::F32)
}

/// The base in miniature on the CPU, loaded once for all tests.
pub fn micro() -> &'static Base {
    static MICRO: LazyLock<Base> =
        LazyLock::new(|| load_folder(&micro_folder(), &cpu(), Arithmetic::F32));
    &MICRO
}

/// Loads a base, its UNet computing in a number format.
pub fn load_folder(folder: &dyn Checkpoint, device: &Device, arithmetic: Arithmetic) -> Base {
    let arithmetic = ArithmeticChoice::Given(arithmetic);
    block_on(Base::load(folder, device, arithmetic, &mut |_: Event| {})).unwrap()
}

/// The folder of the bundled base.
pub fn bundled() -> EmbeddedFolder {
    EmbeddedFolder {
        name: mimeo_base::NAME,
        files: mimeo_base::files(),
    }
}

/// The folder of the base in miniature.
pub fn micro_folder() -> EmbeddedFolder {
    fixture::folder("micro")
}

/// A family in miniature on the CPU, loaded once for all tests: `sd2`, `sd2_v`, `sdxl` or `sdxl_v`.
pub fn family(name: &str) -> &'static Base {
    static FAMILIES: LazyLock<[Base; 4]> = LazyLock::new(|| {
        FAMILY_NAMES.map(|name| load_folder(&family_folder(name), &cpu(), Arithmetic::F32))
    });
    let place = FAMILY_NAMES.iter().position(|known| *known == name);
    &FAMILIES[place.unwrap()]
}

/// The families in miniature.
pub const FAMILY_NAMES: [&str; 4] = ["sd2", "sd2_v", "sdxl", "sdxl_v"];

/// The folder of a family in miniature. Those that predict velocity have the weights of the others
/// and a scheduler of their own.
pub fn family_folder(name: &'static str) -> EmbeddedFolder {
    let [weights, own] = match name {
        "sd2" | "sd2_v" => ["families/sd2", "families/sd2_v"],
        _ => ["families/sdxl", "families/sdxl_v"],
    };
    let mut files = fixture::folder(weights).files.to_vec();
    if name.ends_with("_v") {
        for (path, bytes) in fixture::folder(own).files {
            files.retain(|(known, _)| known != path);
            files.push((path, bytes));
        }
    }
    EmbeddedFolder {
        name,
        files: files.leak(),
    }
}

/// The folder of the random model with SD1.x's structure.
pub fn sd1x() -> EmbeddedFolder {
    fixture::folder("sd1x")
}

/// Loads a folder's text encoder on the CPU.
pub fn text_encoder(folder: &dyn Checkpoint) -> ClipTextModel {
    let config = TextEncoderConfig::from_json(&config(folder, Component::TextEncoder)).unwrap();
    load(folder, Component::TextEncoder, |weights| {
        ClipTextModel::load(&config, weights).unwrap()
    })
}

/// Loads a folder's second text encoder on the CPU.
pub fn text_encoder_2(folder: &dyn Checkpoint) -> ClipTextModelWithProjection {
    let config = config(folder, Component::TextEncoder2);
    let config = TextEncoderConfig::second_from_json(&config).unwrap();
    load(folder, Component::TextEncoder2, |weights| {
        ClipTextModelWithProjection::load(&config, weights).unwrap()
    })
}

/// Loads a folder's autoencoder on the CPU.
pub fn vae(folder: &dyn Checkpoint) -> (VaeConfig, AutoencoderKl) {
    let config = VaeConfig::from_json(&config(folder, Component::Vae)).unwrap();
    let vae = load(folder, Component::Vae, |weights| {
        AutoencoderKl::load(&config, weights).unwrap()
    });
    (config, vae)
}

/// Loads a folder's UNet on the CPU.
pub fn unet(folder: &dyn Checkpoint) -> UNet2DConditionModel {
    unet_in(folder, WeightFormat::Single)
}

/// Loads a folder's UNet on the CPU, in a format that another device would choose.
pub fn unet_in(folder: &dyn Checkpoint, format: WeightFormat) -> UNet2DConditionModel {
    let config = UNetConfig::from_json(&config(folder, Component::Unet)).unwrap();
    load_in(folder, Component::Unet, format, |weights| {
        UNet2DConditionModel::load(&config, weights).unwrap()
    })
}

fn config(folder: &dyn Checkpoint, component: Component) -> String {
    block_on(folder.config(component)).unwrap()
}

fn load<T>(
    folder: &dyn Checkpoint,
    component: Component,
    build: impl FnOnce(&mut WeightMap) -> T,
) -> T {
    load_in(folder, component, WeightFormat::Single, build)
}

/// Loads a component and makes sure that it is all there is: a weight that no module takes is a
/// module that is missing.
fn load_in<T>(
    folder: &dyn Checkpoint,
    component: Component,
    format: WeightFormat,
    build: impl FnOnce(&mut WeightMap) -> T,
) -> T {
    let found = open(folder, component);
    let mut weights = block_on(WeightMap::read(&found, &cpu(), format)).unwrap();
    let model = build(&mut weights);
    let unused = weights.unused();
    assert!(
        unused.is_empty(),
        "weights of {component:?} that no module took: {unused:?}"
    );
    model
}

/// Opens a component's weights.
pub fn open(folder: &dyn Checkpoint, component: Component) -> ComponentWeights {
    block_on(folder.weights(component)).unwrap()
}
