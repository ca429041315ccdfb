//! The models of the fixtures: the bundled base, a small random one with SD1.x's structure, and a
//! whole base in miniature.

use std::sync::LazyLock;

use burn::tensor::Device;
use mimeo_checkpoint::folder::{open_weights, read_text};
use mimeo_checkpoint::{
    EmbeddedFolder, Folder, SafetensorsFile, TextEncoderConfig, UNetConfig, VaeConfig,
};
use mimeo_diffusion::{
    AutoencoderKl, ClipTextModel, UNet2DConditionModel, WeightFormat, WeightMap,
};
use mimeo_engine::{Base, Event};
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
    load_folder(&bundled(), device)
}

/// The base in miniature on the CPU, loaded once for all tests.
pub fn micro() -> &'static Base {
    static MICRO: LazyLock<Base> = LazyLock::new(|| load_folder(&micro_folder(), &cpu()));
    &MICRO
}

fn load_folder(folder: &dyn Folder, device: &Device) -> Base {
    block_on(Base::load(folder, device, &mut |_: Event| {})).unwrap()
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

/// The folder of the random model with SD1.x's structure.
pub fn sd1x() -> EmbeddedFolder {
    fixture::folder("sd1x")
}

/// Loads a folder's text encoder on the CPU.
pub fn text_encoder(folder: &dyn Folder) -> ClipTextModel {
    let config = TextEncoderConfig::from_json(&config(folder, "text_encoder/config.json")).unwrap();
    load(folder, "text_encoder", |weights| {
        ClipTextModel::load(&config, weights).unwrap()
    })
}

/// Loads a folder's autoencoder on the CPU.
pub fn vae(folder: &dyn Folder) -> (VaeConfig, AutoencoderKl) {
    let config = VaeConfig::from_json(&config(folder, "vae/config.json")).unwrap();
    let vae = load(folder, "vae", |weights| {
        AutoencoderKl::load(&config, weights).unwrap()
    });
    (config, vae)
}

/// Loads a folder's UNet on the CPU.
pub fn unet(folder: &dyn Folder) -> UNet2DConditionModel {
    unet_in(folder, WeightFormat::Single)
}

/// Loads a folder's UNet on the CPU, in a format that another device would choose.
pub fn unet_in(folder: &dyn Folder, format: WeightFormat) -> UNet2DConditionModel {
    let config = UNetConfig::from_json(&config(folder, "unet/config.json")).unwrap();
    load_in(folder, "unet", format, |weights| {
        UNet2DConditionModel::load(&config, weights).unwrap()
    })
}

fn config(folder: &dyn Folder, path: &str) -> String {
    block_on(read_text(folder, path, 1 << 20)).unwrap()
}

fn load<T>(folder: &dyn Folder, component: &str, build: impl FnOnce(&mut WeightMap) -> T) -> T {
    load_in(folder, component, WeightFormat::Single, build)
}

/// Loads a component and makes sure that it is all there is: a weight that no module takes is a
/// module that is missing.
fn load_in<T>(
    folder: &dyn Folder,
    component: &str,
    format: WeightFormat,
    build: impl FnOnce(&mut WeightMap) -> T,
) -> T {
    let file = open(folder, component);
    let mut weights = block_on(WeightMap::read(&file, &cpu(), format)).unwrap();
    let model = build(&mut weights);
    let unused = weights.unused();
    assert!(
        unused.is_empty(),
        "weights of {component} that no module took: {unused:?}"
    );
    model
}

/// Opens a component's weights, which the fixtures have in one file.
pub fn open(folder: &dyn Folder, component: &str) -> SafetensorsFile {
    let files = block_on(open_weights(folder, component)).unwrap();
    let [file] = <[SafetensorsFile; 1]>::try_from(files)
        .unwrap_or_else(|files| panic!("{component} has {} files", files.len()));
    file
}
