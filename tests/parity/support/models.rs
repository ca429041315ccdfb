//! The two models of the fixtures: the bundled base, and a small random one with SD1.x's structure.

use std::sync::LazyLock;

use burn::tensor::Device;
use mimeo_checkpoint::folder::{open_weights, read_text};
use mimeo_checkpoint::{DiskFolder, EmbeddedFolder, Folder, SafetensorsFile};
use mimeo_diffusion::{
    AutoencoderKl, ClipTextModel, TextEncoderConfig, UNet2DConditionModel, UNetConfig, VaeConfig,
    WeightMap,
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
    block_on(Base::load(&bundled(), device, &mut |_: Event| {})).unwrap()
}

/// The folder of the bundled base.
pub fn bundled() -> EmbeddedFolder {
    EmbeddedFolder {
        name: mimeo_base::NAME,
        files: mimeo_base::files(),
    }
}

/// The folder of the random model with SD1.x's structure.
pub fn sd1x() -> DiskFolder {
    DiskFolder::new(fixture::path("sd1x")).unwrap()
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
    let config = UNetConfig::from_json(&config(folder, "unet/config.json")).unwrap();
    load(folder, "unet", |weights| {
        UNet2DConditionModel::load(&config, weights).unwrap()
    })
}

fn config(folder: &dyn Folder, path: &str) -> String {
    block_on(read_text(folder, path, 1 << 20)).unwrap()
}

/// Loads a component and makes sure that it is all there is: a weight that no module takes is a
/// module that is missing.
fn load<T>(folder: &dyn Folder, component: &str, build: impl FnOnce(&mut WeightMap) -> T) -> T {
    let file = block_on(async {
        SafetensorsFile::open(open_weights(folder, component).await.unwrap())
            .await
            .unwrap()
    });
    let mut weights = block_on(WeightMap::read(&file, &cpu())).unwrap();
    let model = build(&mut weights);
    let unused = weights.unused();
    assert!(
        unused.is_empty(),
        "weights of {component} that no module took: {unused:?}"
    );
    model
}
